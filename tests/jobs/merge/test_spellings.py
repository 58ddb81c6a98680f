"""Adapters as people have them: every way of naming the same tensors merges to the same bytes, or says what it is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import edit, edit_tensors

from launcher.errors import BadInput, QlError, Unreadable

Tensors = dict[str, Any]
WEIGHTS = "adapter_model.safetensors"
PREFIX = "base_model.model."


def renamed(old: str, new: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {name.replace(old, new): tensor for name, tensor in tensors.items()}


def named(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key.replace(".weight", f".{name}.weight"): tensor for key, tensor in tensors.items()}


def prefixed(prefix: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {prefix + key: tensor for key, tensor in tensors.items()}


SPELLINGS: dict[str, Callable[[Tensors], Tensors]] = {
    "a raw state dict": named("default"),
    "an adapter with a name": named("my_adapter"),
    "compiled": renamed(PREFIX, f"{PREFIX}_orig_mod."),
    "compiled as a whole": prefixed("_orig_mod."),
    "layers compiled one by one": renamed(".self_attn.", "._orig_mod.self_attn."),
    "in DistributedDataParallel": prefixed("module."),
    "wrapped inside": renamed(PREFIX, f"{PREFIX}module."),
    "in FSDP": renamed(".self_attn.", "._fsdp_wrapped_module.self_attn."),
    "checkpointed": renamed(".self_attn.", "._checkpoint_wrapped_module.self_attn."),
    "compiled, in FSDP, raw": lambda tensors: named("default")(
        prefixed("_fsdp_wrapped_module._orig_mod.")(renamed(".self_attn.", "._orig_mod.self_attn.")(tensors))
    ),
    "no prefix": renamed(PREFIX, ""),
    "peft's prefix twice": prefixed(PREFIX),
    "one model. less": renamed(f"{PREFIX}model.", PREFIX),
    "one model. more": renamed(f"{PREFIX}model.", f"{PREFIX}model.model."),
    "a text model inside of one of images": renamed(f"{PREFIX}model.", f"{PREFIX}model.language_model."),
    "as transformers 4 had those": renamed(f"{PREFIX}model.", f"{PREFIX}language_model.model."),
}


@pytest.fixture
def trained(make_base: Callable[..., Any], train: Callable[..., Any]) -> Any:
    return train(make_base(), target_modules=["q_proj", "v_proj"])


def numbers(folder: Path) -> Tensors:
    from safetensors.torch import load_file

    return load_file(folder / "model-00001-of-00001.safetensors")


def same(one: Tensors, other: Tensors) -> bool:
    import torch

    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("spelling", sorted(SPELLINGS))
def test_a_spelling_merges_to_the_same_numbers(
    spelling: str, trained: Any, merge: Callable[..., Any], tmp_path: Path
) -> None:
    plain, _ = merge(trained, out=str(tmp_path / "plain"))
    edit_tensors(trained.adapter / WEIGHTS, SPELLINGS[spelling])
    folder, result = merge(trained)
    assert same(numbers(plain), numbers(folder))
    assert result["merged_modules"] == 4


def test_a_raw_state_dict_with_the_base_in_it(trained: Any, merge: Callable[..., Any], tmp_path: Path) -> None:
    from safetensors.torch import load_file

    plain, _ = merge(trained, out=str(tmp_path / "plain"))
    base = load_file(trained.base / "model.safetensors")

    def raw(tensors: Tensors) -> Tensors:
        out = named("default")(tensors)
        for name, tensor in base.items():
            inner = name.replace(".weight", ".base_layer.weight") if ("q_proj" in name or "v_proj" in name) else name
            out[PREFIX + inner] = tensor + 1  # what is the base's is not looked at
        return out

    edit_tensors(trained.adapter / WEIGHTS, raw)
    folder, result = merge(trained)
    assert same(numbers(plain), numbers(folder))
    assert any(f"a raw state dict: {len(base)} tensors of the base" in note for note in result["notes"])


@pytest.mark.parametrize("tower", ["visual", "vision_tower", "model.visual", "audio_tower"])
def test_the_layers_of_a_tower_are_not_those_of_the_text(tower: str, trained: Any, merge: Callable[..., Any]) -> None:
    edit_tensors(trained.adapter / WEIGHTS, renamed(f"{PREFIX}model.", f"{PREFIX}{tower}."))
    with pytest.raises(BadInput, match="which the base does not have"):
        merge(trained)


def test_a_name_that_may_be_two_tensors_is_said(trained: Any, merge: Callable[..., Any]) -> None:
    def doubled(tensors: Tensors) -> Tensors:
        return tensors | {name.replace("model.", "language_model.", 1): t for name, t in tensors.items()}

    edit_tensors(trained.base / "model.safetensors", doubled)
    edit_tensors(trained.adapter / WEIGHTS, renamed(f"{PREFIX}model.", PREFIX))
    with pytest.raises(BadInput, match=r"may be any of language_model\.layers\.0\S+, model\.layers\.0"):
        merge(trained, record=None)


def test_two_adapters_in_one_file(trained: Any, merge: Callable[..., Any]) -> None:
    edit_tensors(trained.adapter / WEIGHTS, lambda tensors: named("one")(tensors) | named("two")(tensors))
    with pytest.raises(BadInput, match="the file holds several adapters: one, two"):
        merge(trained)


# Numbers that are wrong, and whose file that is.


def changed(name: str, value: float) -> Callable[[Tensors], Tensors]:
    def change(tensors: Tensors) -> Tensors:
        out = {key: tensor.clone() for key, tensor in tensors.items()}
        next(tensor for key, tensor in out.items() if key.endswith(name)).view(-1)[3] = value
        return out

    return change


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("half", ["lora_A", "lora_B"])
def test_a_number_of_the_adapter_that_is_none(
    half: str, value: float, trained: Any, merge: Callable[..., Any], tmp_path: Path
) -> None:
    edit_tensors(trained.adapter / WEIGHTS, changed(f"layers.1.self_attn.q_proj.{half}.weight", value))
    with pytest.raises(BadInput) as caught:
        merge(trained)
    [problem] = caught.value.problems
    assert problem.file == str(trained.adapter / WEIGHTS)
    assert f"tensor '{PREFIX}model.layers.1.self_attn.q_proj.{half}.weight' has non-finite values" in problem.message
    assert not (tmp_path / "merged").exists()


def test_a_number_of_the_base_that_is_none(trained: Any, merge: Callable[..., Any]) -> None:
    edit_tensors(trained.base / "model.safetensors", changed("layers.1.mlp.up_proj.weight", float("nan")))
    with pytest.raises(QlError) as caught:
        merge(trained)
    [problem] = caught.value.problems
    assert problem.file == str(trained.base / "model.safetensors")


@pytest.mark.parametrize(("part", "note"), [("", "every B matrix"), ("layers.0", "2 of 4 updates"), ("k_proj", None)])
def test_an_update_that_changes_nothing_is_noted(
    part: str, note: str | None, trained: Any, merge: Callable[..., Any]
) -> None:
    def zeroed(tensors: Tensors) -> Tensors:
        return {name: t * 0 if "lora_B" in name and part in name else t for name, t in tensors.items()}

    edit_tensors(trained.adapter / WEIGHTS, zeroed)
    _, result = merge(trained)
    found = [text for text in result["notes"] if "change" in text and "nothing" in text]
    assert ([text for text in found if note and note in text] == found) and bool(found) is (note is not None)


def empty(tensors: Tensors) -> Tensors:
    return {name: tensor.new_empty(0) for name, tensor in tensors.items()}


def test_empty_tensors_of_zero_3(trained: Any, merge: Callable[..., Any]) -> None:
    base = trained.base / "model.safetensors"
    kept = base.read_bytes()
    edit_tensors(base, empty)
    with pytest.raises(BadInput, match=r"base/model.safetensors: 21 of its tensors are empty.*\n.*ZeRO-3"):
        merge(trained, record=None)
    base.write_bytes(kept)
    edit_tensors(trained.adapter / WEIGHTS, empty)
    with pytest.raises(BadInput, match=r"adapter_model.safetensors: 8 of its 8 tensors are empty.*\n.*ZeRO-3"):
        merge(trained)


@pytest.mark.parametrize("method", ["gptq", "awq", "compressed-tensors", "fp8"])
def test_a_base_that_another_library_quantised(method: str, trained: Any, merge: Callable[..., Any]) -> None:
    edit(trained.base / "config.json", quantization_config={"quant_method": method, "bits": 4})
    with pytest.raises(BadInput, match=rf"base/config.json: the base is stored quantised by {method}.*\n.*16-bit"):
        merge(trained)


# What was named is not what it is called.


def test_swapped_folders(trained: Any, merge: Callable[..., Any]) -> None:
    with pytest.raises(Unreadable, match="base and adapter are swapped"):
        merge(trained, base=str(trained.adapter), adapter=str(trained.base))


@pytest.mark.parametrize("which", ["base", "adapter"])
def test_a_name_of_the_hub(which: str, trained: Any, merge: Callable[..., Any]) -> None:
    with pytest.raises(Unreadable, match=r"someone/some-model: no such folder.*\n.*hf download someone/some-model"):
        merge(trained, **{which: "someone/some-model"})


def test_an_adapter_in_a_folder_below(trained: Any, merge: Callable[..., Any], tmp_path: Path) -> None:
    run = tmp_path / "run"
    for name in ("checkpoint-10", "checkpoint-20"):
        shutil.copytree(trained.adapter, run / name)
    with pytest.raises(Unreadable, match=r"no adapter_config.json .*\n.*run/checkpoint-10, \S+run/checkpoint-20"):
        merge(trained, adapter=str(run))


def test_a_whole_model_as_adapter(trained: Any, merge: Callable[..., Any]) -> None:
    with pytest.raises(Unreadable, match="a whole model: there is nothing to merge"):
        merge(trained, adapter=str(trained.base))


# Tokens and the rows of the embedding.


def tokens(folder: Path, highest: int) -> None:
    """Give the tokenizer a token with this id."""
    import json

    path = folder / "tokenizer.json"
    data = json.loads(path.read_text())
    data["added_tokens"].append({**data["added_tokens"][0], "id": highest, "content": "<|last|>"})
    path.write_text(json.dumps(data))


RESIZED = {"target_modules": ["q_proj"], "modules_to_save": ["embed_tokens", "lm_head"]}


@pytest.mark.parametrize(
    ("resize", "highest", "fits"),
    [(448, 447, True), (448, 448, False), (448, 511, False), (576, 575, True), (576, 576, False), (None, 512, False)],
)
def test_every_token_has_a_row(
    resize: int | None, highest: int, fits: bool, make_base: Any, train: Any, merge: Any, tmp_path: Path
) -> None:
    trained = train(make_base(), resize=resize, **RESIZED)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(trained.base / name, trained.adapter / name)
    tokens(trained.adapter, highest)
    if not fits:
        rows = resize or 512
        with pytest.raises(BadInput, match=rf"token '<\|last\|>' has the id {highest}, and the embedding {rows} rows"):
            merge(trained)
        assert not (tmp_path / "merged").exists()
        return
    folder, result = merge(trained)
    import json

    assert json.loads((folder / "config.json").read_text())["vocab_size"] == resize
    assert f"the embedding has {resize} rows, and the base's 512" in result["notes"]


def test_a_base_that_never_had_the_row_is_noted(trained: Any, merge: Callable[..., Any]) -> None:
    tokens(trained.base, 512)
    _, result = merge(trained)
    assert any("so it is in the base, too" in note for note in result["notes"])
