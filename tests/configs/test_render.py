"""A rendered config says what the plan says, whatever is in it, and every setting reaches the trainer."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from launcher.catalog import list_presets, load_gpu
from launcher.configs.render import comment, quote, render_config
from launcher.configs.validate import check_text
from launcher.errors import BadInput
from launcher.json_schema import check, load_schema
from launcher.planning.decide import make_plan
from launcher.planning.plan import SETTINGS, Plan
from launcher.preparing.request import make_request
from launcher.resources import resource
from launcher.trainers import get_trainer, trainer_names
from load_script import load_script

TOKENS = {"eos": "</s>", "eot": "</s>", "pad": "<unk>"}
BACKENDS = list(trainer_names())


def plan_for(backend: str, preset: str = "a10g-7b", **settings: Any) -> Plan:
    return make_plan(make_request(preset=preset, backend=backend, settings=settings))


def rendered(plan: Plan, **tokens: str) -> str:
    return render_config(plan, {**TOKENS, **tokens})["config.yaml"]


def read(plan: Plan) -> dict[str, Any]:
    config: dict[str, Any] = yaml.safe_load(rendered(plan))
    return config


# --- every preset ---


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("preset", list_presets())
def test_every_preset_renders_and_validates(preset: str, backend: str) -> None:
    try:
        plan = plan_for(backend, preset)
    except BadInput as error:  # a pair that fits one trainer's memory only
        pytest.fail(f"{preset} cannot be planned for {backend}: {error}")
    findings = check_text(rendered(plan), file="config.yaml", gpu=plan.gpu)
    errors = [finding.code for finding in findings if finding.severity == "error"]
    assert set(errors) <= {"QL851"}, "a 32B fits these cards with one of the two trainers only"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("preset", "dtype"), [("a10g-7b", "float16"), ("h100-7b", "bfloat16"), ("cpu-tiny", "float32")]
)
def test_compute_dtype(preset: str, dtype: str, backend: str) -> None:
    config = read(plan_for(backend, preset))
    if backend == "axolotl":
        assert (config["fp16"], config["bf16"]) == (dtype == "float16", dtype == "bfloat16")
    else:
        assert config["compute_dtype"] == dtype


def test_a_cpu_gets_no_triton_kernels() -> None:
    config = read(plan_for("axolotl", "cpu-tiny"))
    kernels = [config[f"lora_{part}_kernel"] for part in ("mlp", "qkv", "o", "embedding")]
    assert kernels == [False] * 4  # left out, Axolotl switches them on by itself
    assert "plugins" not in config


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_file_says_how_to_run_it_and_why(backend: str) -> None:
    plan = plan_for(backend)
    text = rendered(plan)
    first, *rest = text.splitlines()
    assert first == f"# yaml-language-server: $schema={get_trainer(backend).schema}"
    assert get_trainer(backend).command in "\n".join(rest[:3])
    said = " ".join(line.strip().removeprefix("# ") for line in text.splitlines() if line.strip().startswith("#"))
    hidden = {"backend", "effective_batch_size"} | ({"max_steps"} if plan.max_steps is None else set())
    missing = [name for name, why in plan.reasons.items() if name not in hidden and " ".join(why.split()) not in said]
    assert missing == []
    assert max(map(len, text.splitlines())) <= 120


def test_the_modeline_can_point_elsewhere() -> None:
    text = render_config(plan_for("axolotl"), TOKENS, schema="../schemas/x.json")["config.yaml"]
    assert text.startswith("# yaml-language-server: $schema=../schemas/x.json\n")


# --- every setting ---

# A value that differs from the preset's, for each setting.
OTHER: dict[str, Any] = {
    "method": "lora",
    "compute_dtype": "bfloat16",
    "quant_type": "fp4",
    "double_quant": False,
    "lora_r": 8,
    "lora_alpha": 7,
    "lora_dropout": 0.1,
    "lora_target_modules": ("q_proj",),
    "sequence_len": 999,
    "excess_length": "drop",
    "packing": True,
    "effective_batch_size": 77,
    "micro_batch_size": 3,
    "gradient_accumulation_steps": 5,
    "eval_batch_size": 33,
    "num_epochs": 2.5,
    "max_steps": 11,
    "learning_rate": 3e-5,
    "lr_scheduler": "linear",
    "warmup_ratio": 0.125,
    "weight_decay": 0.01,
    "max_grad_norm": 1.5,
    "optimizer": "adamw_torch",
    "eval_fraction": 0.0,
    "evals_per_epoch": 3,
    "keep": "last",
    "logging_steps": 9,
    "attn_implementation": "eager",
    "gradient_checkpointing": False,
    "activation_offload": True,
    "kernels": ("liger",),
    "chat_template": "chatml",
    "seed": 7,
}
# Said in a comment of the config: the first is the product of two keys, the second is the file chat_template.jinja.
IN_COMMENTS = {"effective_batch_size", "chat_template"}


def test_every_setting_is_tried() -> None:
    assert set(OTHER) | {"backend"} == set(SETTINGS)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("setting", sorted(OTHER))
def test_every_setting_reaches_the_trainer_or_is_refused(setting: str, backend: str) -> None:
    plan = replace(plan_for(backend, gradient_checkpointing=True, activation_offload=False), decisions={})
    other = replace(plan, **{setting: OTHER[setting]})
    assert getattr(plan, setting) != getattr(other, setting)
    if get_trainer(backend).supports(setting, OTHER[setting], load_gpu(plan.gpu)):
        with pytest.raises(BadInput):
            plan_for(backend, **{setting: OTHER[setting]})
        return
    if setting in IN_COMMENTS:
        assert rendered(plan) != rendered(other)
    else:
        assert read(plan) != read(other)


# What must be set too, for the value to make a plan.
WITH: dict[str, dict[str, Any]] = {
    "effective_batch_size": {"micro_batch_size": 7},
    "micro_batch_size": {"effective_batch_size": 12},
    "gradient_accumulation_steps": {"effective_batch_size": 20},
    "gradient_checkpointing": {"micro_batch_size": 1},
}


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("setting", sorted(OTHER))
def test_what_a_person_sets_is_what_the_plan_holds(setting: str, backend: str) -> None:
    if get_trainer(backend).supports(setting, OTHER[setting], load_gpu("a10g")):
        return
    plan = plan_for(backend, **{setting: OTHER[setting]}, **WITH.get(setting, {}))
    assert getattr(plan, setting) == OTHER[setting]
    assert plan.reasons[setting] == "set by you"
    # a switch against its opposite: the plan may choose this side by itself
    opposite = {setting: not OTHER[setting]} if isinstance(OTHER[setting], bool) else {}
    assert read(plan) != read(plan_for(backend, **opposite)) or setting in IN_COMMENTS


def test_a_refused_setting_stops_the_plan() -> None:
    with pytest.raises(BadInput, match="Unsloth chooses its own attention"):
        plan_for("unsloth", attn_implementation="eager")
    with pytest.raises(BadInput, match="own kernels are always on"):
        plan_for("unsloth", kernels=["liger"])


def test_the_two_trainers_get_different_files() -> None:
    axolotl, unsloth = (render_config(plan_for(name), TOKENS) for name in ("axolotl", "unsloth"))
    assert sorted(axolotl) == ["config.yaml"]
    assert sorted(unsloth) == ["config.yaml", "train.py"]
    assert unsloth["train.py"] == resource("templates", "unsloth/train.py").read_text(encoding="utf-8")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("without", [{"eval_fraction": 0.0}, {"eval_rows": 0}])
def test_without_evaluation_rows_nothing_is_evaluated(backend: str, without: dict[str, Any]) -> None:
    plan = replace(plan_for(backend), **without)
    config = read(plan)
    assert check_text(rendered(plan), file="config.yaml", gpu=plan.gpu) == []
    if backend == "axolotl":
        assert not {"test_datasets", "eval_steps", "eval_batch_size", "metric_for_best_model"} & set(config)
        assert config["load_best_model_at_end"] is False
    else:
        assert config["eval_file"] is None
        assert config["keep"] == "last"


@pytest.mark.parametrize("backend", BACKENDS)
def test_texts_need_no_template(backend: str) -> None:
    plan = replace(plan_for(backend), conversational=False)
    config = read(plan)
    assert check_text(rendered(plan), file="config.yaml", gpu=plan.gpu) == []
    if backend == "axolotl":
        assert config["datasets"][0]["type"] == "completion"
        assert "chat_template" not in config
    else:
        assert config["chat_template"] is None
        assert "end_of_turn" not in config


# --- hostile values ---

# Anything a string can be, lone surrogates apart: they are no text that a file could hold.
texts = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(
    [
        "yes",
        "null",
        "1e3",
        "0o17",
        "~",
        "a: b",
        "- x",
        "# no",
        "{{ x }}",
        "'",
        '"',
        "\\n",
        "\n",
        "\x00",
        "\u2028",
        "=",
        "!!x",
    ]
)


@given(texts)
def test_any_string_survives_quoting(text: str) -> None:
    assert yaml.safe_load(f"key: {quote(text)}\nnext: 1") == {"key": text, "next": 1}
    assert yaml.safe_load(f"key: {quote([text, 'b'])}") == {"key": [text, "b"]}


@given(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False))
def test_any_scalar_survives_quoting(value: Any) -> None:
    assert yaml.safe_load(f"key: {quote(value)}") == {"key": value}


@given(texts)
def test_any_string_is_one_comment(text: str) -> None:
    assert yaml.safe_load(f"{comment(text)}\nkey: 1") == {"key": 1}


AXOLOTL, UNSLOTH = (plan_for(name) for name in ("axolotl", "unsloth"))


@settings(deadline=None)  # on a busy machine the first rendering may take longer than hypothesis allows
@given(texts, texts, texts)
def test_any_name_and_reason_survives_both_templates(name: str, token: str, reason: str) -> None:
    for plan in (AXOLOTL, UNSLOTH):
        hostile = replace(
            plan,
            base_model=name,
            preset=name,
            lora_target_modules=(name, "b"),
            decisions={key: replace(one, source="planner", why=reason, name="") for key, one in plan.decisions.items()},
        )
        config = yaml.safe_load(rendered(hostile, eos=token, eot=token, pad=token))
        assert config["base_model"] == name
        assert config["lora_target_modules"] == [name, "b"]
        pad = config["special_tokens"]["pad_token"] if plan is AXOLOTL else config["pad_token"]
        assert pad == token
        same = yaml.safe_load(rendered(plan))
        assert set(config) == set(same)


def test_plain_words_stay_plain() -> None:
    assert [quote(word) for word in ("q_proj", "yes", "12", "a/b-c.d", "x y")] == [
        "q_proj",
        '"yes"',
        '"12"',
        "a/b-c.d",
        '"x y"',
    ]


# --- cadence ---


@given(st.integers(1, 12), st.sampled_from([0.25, 0.5, 1, 2, 3, 5, 6, 7]), st.integers(1, 300))
def test_evaluations_come_as_often_as_planned(per_epoch: int, epochs: float, steps_between: int) -> None:
    plan = replace(AXOLOTL, evals_per_epoch=per_epoch, num_epochs=epochs)
    assert 0 < plan.eval_interval < 1  # 1 or more would be read as a number of steps
    count = per_epoch * epochs
    if count >= 1 and count == int(count):
        total = int(count) * steps_between
        assert math.ceil(total * plan.eval_interval) == steps_between  # what transformers computes


def test_a_smoke_run_is_evaluated_within_its_steps() -> None:
    assert replace(AXOLOTL, max_steps=4, evals_per_epoch=4).eval_interval == 0.25


# --- train.py reads what the schema knows, and nothing else ---


@pytest.fixture(scope="module")
def train_py() -> ModuleType:
    return load_script(resource("templates", "unsloth/train.py"))


def test_train_py_knows_the_keys_of_the_schema(train_py: ModuleType) -> None:
    schema = load_schema("unsloth")
    assert set(train_py.KEYS) == set(schema["properties"])
    assert set(train_py.KEYS) - set(schema["required"]) == train_py.OPTIONAL
    for key, choices in train_py.CHOICES.items():
        assert list(choices) == schema["properties"][key]["enum"]


def test_train_py_reads_every_key() -> None:
    source = resource("templates", "unsloth/train.py").read_text(encoding="utf-8")
    body = source.partition("# --- rows to tokens ---")[2]
    unread = [key for key in load_schema("unsloth")["properties"] if f'config["{key}"]' not in body]
    assert unread == []


@pytest.mark.parametrize(("steps", "warmup"), [(3, 0), (10, 0), (34, 2), (60, 2), (1000, 30)])
def test_train_py_warms_up_for_as_many_steps_as_axolotl(steps: int, warmup: int, train_py: ModuleType) -> None:
    config = {"warmup_ratio": 0.03, "max_steps": steps, "num_epochs": 1}
    config |= {"micro_batch_size": 2, "gradient_accumulation_steps": 4}
    assert train_py.warmup_steps(config, 9) == warmup
    assert train_py.warmup_steps({**config, "max_steps": None}, 8 * steps - 7) == warmup, "the last batch is not full"


BREAKS: list[dict[str, Any]] = [
    {"lora_rank": 4},
    {"seed": None},
    {"lora_r": "16"},
    {"packing": 1},
    {"keep": "first"},
    {"keep": "best", "eval_file": None},
    {"activation_offload": True, "gradient_checkpointing": False},
    {"end_of_turn": ...},
    {"quant_type": ...},
    {"output_dir": ...},
]


@pytest.mark.parametrize("changes", BREAKS, ids=str)
def test_train_py_and_schema_refuse_the_same(changes: dict[str, Any], tmp_path: Path, train_py: ModuleType) -> None:
    config = {key: value for key, value in (read(UNSLOTH) | changes).items() if value is not ...}
    assert check(config, "unsloth").errors
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(config))
    with pytest.raises(SystemExit) as stopped:
        train_py.read_config(str(path))
    assert next(iter(changes)) in str(stopped.value)


def test_train_py_accepts_what_is_rendered(tmp_path: Path, train_py: ModuleType) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(rendered(UNSLOTH), encoding="utf-8")
    assert train_py.read_config(str(path)) == train_py.DEFAULTS | read(UNSLOTH)


def test_train_py_says_all_at_once_before_anything_is_imported(tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text("lora_rank: 4\nseed: x\n")
    argv = [sys.executable, "-I", str(resource("templates", "unsloth/train.py")), "config.yaml"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "config.yaml: unknown key 'lora_rank'" in done.stderr
    assert "config.yaml: seed is 'x', not int" in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
