"""What a config says about a plan is what the plan said when the config was written, for every preset and trainer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from launcher.catalog import list_presets, load_gpu, load_model
from launcher.configs.known import card_of
from launcher.configs.render import render_config
from launcher.configs.rules.memory import estimate_request
from launcher.configs.validate import check_text, read_config, schema_mode, schema_name
from launcher.data.chat import load_chat_template
from launcher.data.facts import DataFacts
from launcher.json_schema import check, load_schema
from launcher.planning.decide import make_plan
from launcher.planning.estimate import memory_request
from launcher.planning.plan import FACTS, IDENTITY, SETTINGS, Plan
from launcher.preparing.config_file import read_edited, template_of
from launcher.preparing.request import make_request
from launcher.records.decision import Decision
from launcher.trainers import get_trainer, trainer_names
from launcher.trainers.codec import Codec, Entry
from launcher.trainers.readback import ReadBack, RowCounts
from launcher.trainers.releases import Release
from launcher.yaml_source import parse_yaml

TOKENS = {"eos": "<|im_end|>", "eot": "<|im_end|>", "pad": "<pad>"}
DATA = DataFacts(rows=1000, eval_rows=50, conversational=True, tokens_total=200_000, tokens_mean=200.0,
                 tokens_p95=400, tokens_max=900, exact=True)  # fmt: skip
ROWS = RowCounts(train=950, evaluation=50)
# The config names the template's file, and `template_of` recognises what is in it; the rest it has word for word.
NOT_IN_THE_CONFIG = {"chat_template"}


def read(text: str, kind: Any, gpu: str, model: str, rows: RowCounts = ROWS) -> ReadBack:
    data, positions = parse_yaml(text, file="config.yaml")
    schema = load_schema(schema_name(kind))
    assert not check(data, schema, mode=schema_mode(kind)).errors
    config = read_config(data, kind)
    return get_trainer(kind).codec.decode(config, "config.yaml", positions, load_gpu(gpu), load_model(model), rows)


def rendered(plan: Plan) -> str:
    return render_config(plan, TOKENS)["config.yaml"]


@pytest.mark.parametrize("backend", trainer_names())
@pytest.mark.parametrize("name", list_presets())
def test_decoding_what_was_encoded_is_the_plan(name: str, backend: str, tmp_path: Path) -> None:
    plan = make_plan(make_request(preset=name, backend=backend, data=DATA))
    (tmp_path / "config.yaml").write_text(rendered(plan), encoding="utf-8")
    (tmp_path / "chat_template.jinja").write_text(load_chat_template(plan.chat_template).text, encoding="utf-8")
    edited = read_edited(tmp_path / "config.yaml")
    template = template_of(edited, "another")
    assert template is not None
    decoded = read(edited.text, backend, plan.gpu, plan.model).values
    assert (
        Plan(
            **{key: getattr(plan, key) for key in IDENTITY},
            **decoded | {"chat_template": template.name},
            **{key: getattr(plan, key) for key in FACTS},
        )
        == plan
    )
    codec = get_trainer(backend).codec
    assert set(codec.by_setting) | {"backend", "effective_batch_size"} == set(SETTINGS)
    written = yaml.safe_load(edited.text)
    for key, value in codec.encode(plan).items():
        level = written
        for part in key.split("."):
            level = level[part]
        assert level == (list(value) if isinstance(value, tuple) else value), key


@pytest.mark.parametrize("backend", trainer_names())
@pytest.mark.parametrize(
    "settings",
    [
        {"method": "lora", "max_steps": 7, "keep": "last", "compute_dtype": "bfloat16"},
        {"packing": True, "quant_type": "fp4", "double_quant": False, "lora_dropout": 0.1, "num_epochs": 1.5},
        {"eval_fraction": 0.0, "excess_length": "drop", "lora_target_modules": ["q_proj", "v_proj"], "seed": 7},
        {"micro_batch_size": 2, "gradient_accumulation_steps": 5, "eval_batch_size": 3, "warmup_ratio": 0.1},
        {"gradient_checkpointing": True, "activation_offload": True, "optimizer": "adamw_torch", "logging_steps": 9},
    ],
)
def test_what_a_person_set_comes_back(settings: dict[str, Any], backend: str) -> None:
    data = replace(DATA, eval_rows=0) if settings.get("eval_fraction") == 0 else DATA
    plan = make_plan(make_request(preset="h100-7b", backend=backend, settings=settings, data=data))
    rows = RowCounts(train=1000, evaluation=0) if data.eval_rows == 0 else ROWS
    found = read(rendered(plan), backend, plan.gpu, plan.model, rows)
    for key in set(SETTINGS) - NOT_IN_THE_CONFIG:
        assert found.values[key] == getattr(plan, key), key
    for key, value in settings.items():
        if key in found.places:
            assert found.line(key), (key, value)


@pytest.mark.parametrize("backend", trainer_names())
@pytest.mark.parametrize("name", [name for name in list_presets() if name != "cpu-tiny"])
def test_the_validator_estimates_what_ql_estimate_does(name: str, backend: str) -> None:
    request = make_request(preset=name, backend=backend, data=DATA)
    plan = make_plan(request)
    data, _ = parse_yaml(rendered(plan), file="config.yaml")
    config = replace(read_config(data, backend), card=card_of(plan.gpu))
    assert estimate_request(config) == memory_request(plan.to_dict(), request)


MINIMAL = """\
base_model: meta-llama/Llama-2-7b-hf
adapter: lora
lora_r: 4
lora_alpha: 8
lora_target_linear: true
datasets: [{path: data.jsonl, type: alpaca}]
learning_rate: 2e-4
"""


def test_what_the_file_does_not_say_is_axolotls_default() -> None:
    found = read(MINIMAL, "axolotl", "a10g", "llama-2-7b", RowCounts(train=100, evaluation=0))
    assert found.values["learning_rate"] == 2e-4
    assert found.values["sequence_len"] == 512
    assert found.values["micro_batch_size"] == found.values["eval_batch_size"] == 1
    assert found.values["excess_length"] == "drop"
    assert found.values["optimizer"] == "adamw_torch_fused"
    assert found.values["kernels"] == ("lora",)  # switched on by Axolotl, with dropout too
    assert found.values["compute_dtype"] == "bfloat16"  # bf16: auto, and the card has it
    assert found.values["eval_fraction"] == 0
    assert found.values["keep"] == "last"
    assert found.values["quant_type"] is None
    assert found.decisions["sequence_len"] == Decision(512, "trainer", "Axolotl's default")
    assert found.decisions["lora_r"].reason == "config.yaml:3"
    assert len(found.values["lora_target_modules"]) == 7


@pytest.mark.parametrize(
    ("line", "gpu", "dtype"),
    [
        ("bf16: auto", "a10g", "bfloat16"),
        ("bf16: auto", "t4", "float16"),
        ("", "cpu", "float16"),  # Axolotl asks CUDA, and falls back to fp16
        ("fp16: true", "a10g", "float16"),
        ("bf16: true", "a10g", "bfloat16"),
        ("bf16: false", "a10g", "float32"),
        ("bf16: false\nfp16: false", "a10g", "float32"),
        ("float16: true\nbf16: false", "a10g", "float16"),
        ("bfloat16: true\nbf16: false", "a10g", "bfloat16"),
    ],
)
def test_the_compute_dtype_is_resolved_as_axolotl_does(line: str, gpu: str, dtype: str) -> None:
    found = read(MINIMAL + line + "\n", "axolotl", gpu, "llama-2-7b")
    assert found.values["compute_dtype"] == dtype


@pytest.mark.parametrize(
    ("lines", "setting", "value"),
    [
        ("warmup_steps: 10", "warmup_ratio", 0.1),  # of 100 steps
        ("val_set_size: 0.05\nevals_per_epoch: 3", "evals_per_epoch", 3),
        ("val_set_size: 0.05\neval_steps: 25", "evals_per_epoch", 4),
        ("val_set_size: 0.05", "eval_fraction", 0.05),
        ("val_set_size: 0.05\nload_best_model_at_end: true", "keep", "best"),
        ("gradient_checkpointing: offload", "activation_offload", True),
        ("sdp_attention: true", "attn_implementation", "sdpa"),
        ("flash_attention: true", "attn_implementation", "flash_attention_2"),
        ("lora_mlp_kernel: false", "kernels", ()),
        ("gradient_accumulation_steps: 4\nmicro_batch_size: 2", "effective_batch_size", 8),
    ],
)
def test_other_ways_to_say_a_setting(lines: str, setting: str, value: Any) -> None:
    found = read(MINIMAL + lines + "\n", "axolotl", "a10g", "llama-2-7b", RowCounts(train=100, evaluation=0))
    assert found.values[setting] == value
    assert found.line(setting)


@pytest.mark.parametrize(
    ("targets", "modules"),
    [
        ("[q_proj, v_proj]", ("q_proj", "v_proj")),
        ("'.*\\.(q|v)_proj'", ("q_proj", "v_proj")),
        ("all-linear", ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")),
    ],
)
def test_target_modules_as_a_list_a_pattern_or_all(targets: str, modules: tuple[str, ...]) -> None:
    text = MINIMAL.replace("lora_target_linear: true", f"lora_target_modules: {targets}")
    assert read(text, "axolotl", "a10g", "llama-2-7b").values["lora_target_modules"] == modules


RELEASES = [(name, release) for name in trainer_names() for release in get_trainer(name).releases]


@pytest.mark.parametrize(("backend", "release"), RELEASES, ids=lambda value: getattr(value, "name", value))
def test_what_is_rendered_for_a_release_is_valid_for_it(backend: str, release: Release) -> None:
    for name in list_presets():
        plan = make_plan(make_request(preset=name, backend=backend, data=DATA))
        text = render_config(plan, TOKENS, version=release.version)["config.yaml"]
        assert f"{release.schema}.json" in text.split("\n", 1)[0], "the modeline names the release"
        found = check_text(text, file="config.yaml")
        assert [one for one in found if one.severity == "error"] == [], name


class Renamed(NamedTuple):
    number: int = 3


def test_a_renamed_key_is_two_entries_and_a_new_default_is_one_of_its_release() -> None:
    old, new = Entry("number", "old_name", "a", default=1, until=(1, 1)), Entry("number", "new_name", "a", since=(1, 2))
    codec = Codec("one", "a config", "the default", (old, new))
    encoded = [codec.of(version, {}).encode(Renamed()) for version in ((1, 0), (1, 1), (1, 2))]  # type: ignore[arg-type]
    assert encoded == [{"old_name": 3}, {"old_name": 3}, {"new_name": 3}]
    assert codec.of((1, 1), {"old_name": 7}).by_setting["number"].default == 7
