from __future__ import annotations

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from launcher import catalog
from launcher.catalog import (
    Model,
    count_parameters,
    load_gpu,
    load_model,
    load_preset,
    load_recipe,
    resolve_base,
    whole_name,
)
from launcher.catalog.architecture import lora_parameters
from launcher.catalog.check import check
from launcher.errors import Unreadable
from launcher.preparing.asked import Asked
from launcher.resources import resource

# From the model cards and safetensors indices of the published checkpoints.
PUBLISHED = {
    "llama-2-7b": 6_738_415_616,
    "llama-2-13b": 13_015_864_320,
    "llama-2-70b": 68_976_648_192,
    "llama-3.1-8b": 8_030_261_248,
    "llama-3.1-70b": 70_553_706_496,
    "mistral-7b": 7_248_023_552,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-72b": 72_706_203_648,
    "gemma-2-9b": 9_241_705_984,
}


@pytest.mark.parametrize("name", catalog.list_gpus())
def test_every_card_loads_and_its_numbers_agree(name: str) -> None:
    gpu = load_gpu(name)
    assert gpu.usable_gib <= gpu.vram_gib
    assert (gpu.kind == "cpu") == (gpu.compute_dtype == "float32") == (gpu.tflops_16bit is None)
    if gpu.kind == "cuda":  # the house rule
        assert gpu.compute_dtype == ("bfloat16" if gpu.compute_capability >= 9 else "float16")


@pytest.mark.parametrize("name", catalog.list_models())
def test_the_parameters_of_every_model_follow_from_its_architecture(name: str) -> None:
    model = load_model(name)
    assert count_parameters(model) == model.parameters == PUBLISHED.get(name, model.parameters)


def test_every_published_count_is_checked() -> None:
    assert set(catalog.list_models()) == {*PUBLISHED, "cpu-tiny"}


def test_the_tiny_models_numbers_are_those_of_the_folder_that_ql_ships() -> None:
    shipped = load_model("cpu-tiny")
    found = load_model(catalog.resolve_base(shipped))
    same = [key for key in asdict(shipped) if key not in ("name", "title", "base_model", "size", "license", "note")]
    differing = {key: (getattr(shipped, key), getattr(found, key)) for key in same}
    differing.pop("chat_template")
    assert all(left == right for left, right in differing.values()), differing


@pytest.mark.parametrize("name", catalog.list_recipes())
def test_every_recipe_loads_and_names_its_method(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.settings["method"] == name
    assert set(recipe.reasons) <= set(recipe.settings)


@pytest.mark.parametrize("name", catalog.list_presets())
def test_every_preset_names_what_exists(name: str) -> None:
    preset = load_preset(name)
    assert name == "cpu-tiny" or preset.name == f"{preset.gpu}-{load_model(preset.model).size}"
    assert load_gpu(preset.gpu)
    assert load_recipe(preset.recipe)
    assert set(preset.reasons) <= set(preset.settings)


def test_a_wrong_name_is_answered_with_the_nearest() -> None:
    for load, wrong, right in [
        (load_gpu, "a10", "a10g"),
        (load_model, "mistral-7", "mistral-7b"),
        (load_preset, "a10g-7", "a10g-7b"),
        (load_recipe, "qloro", "qlora"),
    ]:
        with pytest.raises(Unreadable, match=f"did you mean '{right}'") as caught:
            load(wrong)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("device", "name"),
    [
        ("NVIDIA A10G", "a10g"),
        ("NVIDIA L4", "l4"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA A100-SXM4-80GB", "a100-80gb"),
        ("NVIDIA A100-SXM4-40GB", "a100-40gb"),
        ("NVIDIA A40", "a40"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("Tesla T4", "t4"),
        ("NVIDIA GeForce RTX 4090", "4090"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-PG509-200", None),
        ("NVIDIA A400", None),
    ],
)
def test_a_card_is_known_by_the_drivers_name(device: str, name: str | None) -> None:
    found = catalog.find_gpu(device)
    assert (found.name if found else None) == name


def test_lora_parameters_of_llama_2_7b() -> None:
    model = load_model("llama-2-7b")
    assert lora_parameters(model, 16, model.linear_modules) == 39_976_960  # peft prints the same


CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 11008,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "vocab_size": 32000,
}


def folder(tmp_path: Path, config: Any) -> str:
    (tmp_path / "config.json").write_text(config if isinstance(config, str) else json.dumps(config), encoding="utf-8")
    return str(tmp_path)


def test_a_local_folder_is_read_from_its_config(tmp_path: Path) -> None:
    model = load_model(folder(tmp_path, CONFIG))
    assert (model.parameters, model.size, model.head_dim, model.num_key_value_heads) == (6_738_415_616, "7b", 128, 32)
    assert model.base_model == str(tmp_path)


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        # sums of the tensor sizes of the published checkpoints
        (  # Qwen3-8B
            {"model_type": "qwen3", "intermediate_size": 12288, "num_hidden_layers": 36, "num_key_value_heads": 8,
             "head_dim": 128, "vocab_size": 151936},
            8_190_735_360,
        ),
        (  # Mixtral-8x7B
            {"model_type": "mixtral", "intermediate_size": 14336, "num_key_value_heads": 8, "num_local_experts": 8},
            46_702_792_704,
        ),
        (  # Phi-3-mini
            {"model_type": "phi3", "hidden_size": 3072, "intermediate_size": 8192, "vocab_size": 32064},
            3_821_079_552,
        ),
        (  # Gemma-7B
            {"model_type": "gemma", "hidden_size": 3072, "intermediate_size": 24576, "num_hidden_layers": 28,
             "num_attention_heads": 16, "vocab_size": 256000},
            8_537_680_896,
        ),
        (  # Gemma-3-1B
            {"model_type": "gemma3_text", "hidden_size": 1152, "intermediate_size": 6912, "num_hidden_layers": 26,
             "num_attention_heads": 4, "num_key_value_heads": 1, "vocab_size": 262144},
            999_885_952,
        ),
    ],
)  # fmt: skip
def test_other_families_are_counted_exactly(tmp_path: Path, changes: dict[str, Any], parameters: int) -> None:
    assert load_model(folder(tmp_path, CONFIG | changes)).parameters == parameters


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("{", "not JSON"),
        ("[]", "no JSON object"),
        ({**CONFIG, "model_type": "bert"}, "model_type 'bert' is not supported"),
        ({key: value for key, value in CONFIG.items() if key != "vocab_size"}, "vocab_size must be a positive"),
        ({**CONFIG, "hidden_size": "4096"}, "hidden_size must be a positive whole number"),
        ({**CONFIG, "num_attention_heads": 0}, "num_attention_heads must be a positive"),
    ],
)
def test_a_config_that_cannot_be_used_is_refused_in_words(tmp_path: Path, config: Any, message: str) -> None:
    with pytest.raises(Unreadable, match=message):
        load_model(folder(tmp_path, config))


def test_a_folder_without_config_and_an_adapter_folder(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"has no config\.json"):
        load_model(str(tmp_path))
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(Unreadable, match="this is an adapter"):
        load_model(str(tmp_path))


def test_hub_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert load_model("mistralai/Mistral-7B-v0.3").name == "mistral-7b"
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(Unreadable, match="hf download some/model"):
        load_model("some/model")
    snapshot = tmp_path / "hub" / "models--some--model" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    folder(snapshot, CONFIG)
    found = load_model("some/model")
    assert (found.base_model, found.parameters) == ("some/model", 6_738_415_616)


def test_a_local_model_takes_its_tokenizers_template_or_one_that_fits_its_family(tmp_path: Path) -> None:
    assert load_model(folder(tmp_path, CONFIG)).chat_template == "inst"
    assert load_model(folder(tmp_path, CONFIG | {"model_type": "qwen2"})).chat_template == "chatml"
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    assert load_model(str(tmp_path)).chat_template == "tokenizer"


def test_all_schema_problems_are_reported_at_once() -> None:
    wrong = {"title": "", "gpu": "a10g", "settings": {"lora_rank": 8, "learning_rate": "2e-4", "method": "full"}}
    messages = [str(problem) for problem in check(wrong, "preset.json")]
    assert len(messages) == 6
    text = "\n".join(messages)
    for part in [
        "the key model is missing",
        "the key recipe is missing",
        "it is called lora_r here",
        "or 2.0e-4",
        "settings.method cannot be 'full'",
    ]:
        assert part in text


def test_schema_problems_have_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "presets").mkdir()
    path = tmp_path / "presets" / "mine.yaml"
    path.write_text("title: x\ngpu: a10g\nmodel: mistral-7b\nrecipe: qlora\nsettings:\n  lora_rank: 8\n")
    real = catalog.load.resource
    monkeypatch.setattr(
        catalog.load,
        "resource",
        lambda *parts: tmp_path / "presets" / Path(*parts[1:]) if parts[0] == "presets" else real(*parts),
    )
    with pytest.raises(Unreadable) as caught:
        load_preset("mine")
    [problem] = caught.value.problems
    assert (problem.file, problem.line, problem.column) == (str(path), 6, 3)


def test_model_is_plain_data() -> None:
    assert Model(**asdict(load_model("mistral-7b"))) == load_model("mistral-7b")


def test_a_reason_for_a_setting_that_does_not_exist_is_refused() -> None:
    wrong = {"title": "x", "gpu": "a10g", "model": "mistral-7b", "recipe": "qlora", "reasons": {"lora_rank": "why"}}
    [problem] = check(wrong, "preset.json")
    assert "did you mean lora_r" in str(problem)


@pytest.mark.parametrize("name", ["./base", "base", "../{home}/base", "~/base"])
def test_a_folder_is_known_by_its_whole_path(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trainer runs in the run's folder, and an exported config in its own: a relative path would lead nowhere."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copytree(resource("presets", "models", "cpu-tiny"), tmp_path / "base")
    named = name.format(home=tmp_path.name)
    base = Path(resolve_base(load_model(named)))
    assert base.is_absolute()
    assert base.samefile(tmp_path / "base")
    asked = Asked(data="rows.jsonl", gpu="cpu", model=named).record()
    monkeypatch.chdir("/")
    assert Asked.of(asked).request().base_model == str(base)


def test_a_name_of_the_catalog_or_the_hub_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mistral-7b").mkdir()
    assert [whole_name(name) for name in ("mistral-7b", "org/model")] == ["mistral-7b", "org/model"]
