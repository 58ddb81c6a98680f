"""What cannot be merged is refused with the reason, before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from checkpoints import edit, edit_tensors

from launcher.errors import BadInput, QlError, Unreadable


@pytest.fixture
def trained(make_base: Callable[..., Any], train: Callable[..., Any]) -> Any:
    return train(make_base(), target_modules=["q_proj", "v_proj"])


@pytest.fixture
def refused(trained: Any, merge: Callable[..., Any], tmp_path: Path) -> Callable[..., QlError]:
    """Merge, expect an error, and nothing on the disk; gives the error."""

    def run(**request: Any) -> QlError:
        with pytest.raises(QlError) as caught:
            merge(trained, **request)
        assert not (tmp_path / "merged").exists()
        assert not (tmp_path / ".merged.merging").exists()
        return caught.value

    return run


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"peft_type": "LOHA"}, "a LOHA adapter is no low-rank update"),
        ({"peft_type": "PROMPT_TUNING"}, "only LoRA adapters merge"),
        ({"use_qalora": True}, "QA-LoRA"),
        ({"alora_invocation_tokens": [1, 2]}, "invocation tokens"),
        ({"fan_in_fan_out": True}, "Conv1D"),
        ({"layer_replication": [[0, 2], [1, 2]]}, "layer replication"),
        ({"init_lora_weights": "pissa"}, "changed the base weights before training"),
        ({"r": 4}, "has rank 8 where adapter_config.json says 4"),
        ({"use_dora": True}, "disagree about DoRA"),
        ({"r": "many"}, "must be numbers"),
    ],
)
def test_configurations(trained: Any, refused: Callable[..., QlError], change: dict[str, Any], reason: str) -> None:
    edit(trained.adapter / "adapter_config.json", **change)
    error = refused()
    assert isinstance(error, BadInput)
    assert reason in str(error)


def test_a_base_of_another_width(trained: Any, refused: Callable[..., QlError], make_base: Callable[..., Path]) -> None:
    error = refused(base=str(make_base(name="other", hidden_size=192, head_dim=48)))
    assert "for a weight of shape [128, 128], and the base has [192, 192]" in str(error)
    assert len(error.problems) == 4  # all of them at once


def test_a_shallower_base(trained: Any, refused: Callable[..., QlError], make_base: Callable[..., Path]) -> None:
    error = refused(base=str(make_base(name="other", num_hidden_layers=1)), record=None)
    assert "updates 'model.layers.1.self_attn.q_proj.weight', which the base does not have" in str(error)


def test_a_deeper_base(trained: Any, refused: Callable[..., QlError], make_base: Callable[..., Path]) -> None:
    error = refused(base=str(make_base(name="other", num_hidden_layers=3)), record=None)
    assert "has no update for 'model.layers.2.self_attn.q_proj.weight' and 1 others" in str(error)


@pytest.mark.parametrize(
    ("named", "noted"),
    [
        (None, False),
        ("org/Base", False),  # "Base" is in the folder's path
        ("mistralai/Mistral-7B-v0.3", True),
    ],
)
def test_a_base_of_another_name_is_noted(trained: Any, merge: Callable[..., Any], named: str, noted: bool) -> None:
    edit(trained.adapter / "adapter_config.json", base_model_name_or_path=named)
    _, result = merge(trained)
    assert any("make sure that" in note and named in note for note in result["notes"]) is noted


def test_a_record_of_another_base(trained: Any, refused: Callable[..., QlError], make_base: Any) -> None:
    error = refused(base=str(make_base(name="other", num_hidden_layers=1)))
    assert "7 quantised modules of the record are not in this base" in str(error)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"version": 2}, "record of version 2"),
        ({"quant_type": "nf8"}, "'nf8' is none of nf4, fp4, int8"),
        ({"load_dtype": "float12"}, "'float12' is none of"),
        ({"quantized_modules": []}, "names no quantised module"),
    ],
)
def test_records(trained: Any, refused: Callable[..., QlError], change: dict[str, Any], reason: str) -> None:
    assert reason in str(refused(record={**trained.record, **change}))


def test_half_a_pair(trained: Any, refused: Callable[..., QlError]) -> None:
    path = trained.adapter / "adapter_model.safetensors"
    lost = "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight"
    edit_tensors(path, lambda tensors: {name: t for name, t in tensors.items() if name != lost})
    assert "'model.layers.1.self_attn.v_proj' has only one half of a LoRA pair" in str(refused())


def test_a_tensor_of_unknown_kind(trained: Any, refused: Callable[..., QlError]) -> None:
    path = trained.adapter / "adapter_model.safetensors"
    edit_tensors(path, lambda tensors: {**tensors, "base_model.model.x.lora_Q.weight": next(iter(tensors.values()))})
    assert "'base_model.model.x.lora_Q.weight' is not a part of a LoRA adapter" in str(refused())


def test_a_replacement_that_the_base_lacks(trained: Any, refused: Callable[..., QlError]) -> None:
    path = trained.adapter / "adapter_model.safetensors"
    edit_tensors(path, lambda tensors: {**tensors, "base_model.model.score.weight": next(iter(tensors.values()))})
    assert "replaces 'score.weight', which the base does not have" in str(refused())


def test_only_the_embedding_was_resized(
    make_base: Callable[..., Any], train: Callable[..., Any], merge: Callable[..., Any]
) -> None:
    trained = train(make_base(), target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"], resize=520)
    edit_tensors(
        trained.adapter / "adapter_model.safetensors",
        lambda tensors: {name: tensor for name, tensor in tensors.items() if "lm_head" not in name},
    )
    with pytest.raises(BadInput, match="embedding would have 520 rows and the head 512"):
        merge(trained)


def test_original_weights_that_do_not_exist(
    quantised_base: Callable[..., Path], train: Callable[..., Any], merge: Callable[..., Any]
) -> None:
    with pytest.raises(BadInput, match="14 tensors are stored quantised"):
        merge(train(quantised_base()), base_mode="original")


def test_another_quantisation_on_disk(trained: Any, refused: Callable[..., QlError]) -> None:
    edit(trained.base / "config.json", quantization_config={"quant_method": "gptq", "bits": 4})
    trained.record = None
    assert "stored quantised by gptq" in str(refused())


def test_missing_inputs(trained: Any, refused: Callable[..., QlError], tmp_path: Path) -> None:
    assert isinstance(refused(adapter=str(tmp_path)), Unreadable)
    (trained.adapter / "adapter_model.safetensors").rename(trained.adapter / "adapter_model.bin")
    assert "save it again with peft" in str(refused())
    (trained.base / "config.json").unlink()
    assert "config.json" in str(refused())


@pytest.mark.parametrize(
    "init", [True, False, None, "gaussian", "eva", "orthogonal", "mica", "pissa", "olora", "corda"]
)
def test_the_validator_and_the_merge_know_the_same_initialisations(init: Any) -> None:
    from launcher.jobs.merge import adapter
    from launcher.trainers.axolotl import config

    assert (init in adapter.SAFE_INITS) is (init in config.SAFE_INITS)
