"""The rules that look at files or at another kind of config than Axolotl's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.catalog import load_gpu
from launcher.configs.check_files import check_files
from launcher.configs.validate import check_text
from launcher.planning.corrections import MachineCorrection
from launcher.preparing.calibrations import memory_corrections, store_correction
from launcher.sizing import Correction

AXOLOTL: dict[str, Any] = {
    "base_model": "mistralai/Mistral-7B-v0.3",
    "adapter": "qlora",
    "load_in_4bit": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_target_linear": True,
    "lora_mlp_kernel": True,
    "datasets": [{"path": "a.jsonl", "type": "chat_template"}],
    "sequence_len": 2048,
    "excess_length_strategy": "truncate",
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "learning_rate": 0.0002,
    "gradient_checkpointing": True,
    "optimizer": "paged_adamw_8bit",
}
UNSLOTH: dict[str, Any] = {
    "base_model": "mistralai/Mistral-7B-v0.3",
    "load_in_4bit": True,
    "quant_type": "nf4",
    "double_quant": True,
    "compute_dtype": "float16",
    "eos_token": "<|im_end|>",
    "pad_token": "<unk>",
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0,
    "lora_target_modules": ["q_proj"],
    "train_file": "a.jsonl",
    "eval_file": None,
    "chat_template": "chat_template.jinja",
    "end_of_turn": "<|im_end|>",
    "sequence_len": 2048,
    "excess_length": "truncate",
    "packing": False,
    "micro_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "eval_batch_size": 1,
    "num_epochs": 1,
    "max_steps": None,
    "learning_rate": 0.0002,
    "lr_scheduler": "cosine",
    "warmup_ratio": 0.03,
    "optimizer": "paged_adamw_8bit",
    "weight_decay": 0,
    "max_grad_norm": 1,
    "seed": 1,
    "eval_interval": 0.25,
    "keep": "last",
    "logging_steps": 1,
    "output_dir": "trainer",
    "gradient_checkpointing": True,
    "activation_offload": False,
}
ROW = '{"messages": [{"role": "user", "content": "Is it on?"}, {"role": "assistant", "content": "Yes."}]}\n'


@pytest.fixture(autouse=True)
def template(tmp_path: Path) -> None:
    """The chat template that the Unsloth config names."""
    (tmp_path / "chat_template.jinja").write_text("{{ messages }}")


def codes(data: dict[str, Any], folder: Path, **options: Any) -> set[str]:
    found = check_text(yaml.safe_dump(data, sort_keys=False), file=str(folder / "config.yaml"), **options)
    return {finding.code for finding in found}


@pytest.mark.parametrize("base", [AXOLOTL, UNSLOTH], ids=["axolotl", "unsloth"])
def test_good_configs(base: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    assert codes(base, tmp_path, with_data=True) == set()


@pytest.mark.parametrize("base", [AXOLOTL, UNSLOTH], ids=["axolotl", "unsloth"])
@pytest.mark.parametrize(
    ("text", "code"),
    [(None, "QL801"), ('{"text": "x"}\n' + ROW, "QL802"), (ROW + "{not json\n", "QL803"), ("", "QL803")],
)
def test_data_files(base: dict[str, Any], text: str | None, code: str, tmp_path: Path) -> None:
    if text is not None:
        (tmp_path / "a.jsonl").write_text(text)
    assert codes(base, tmp_path, with_data=True) == {code}
    assert codes(base, tmp_path) == set(), "data is looked at only when asked"


@pytest.mark.parametrize(
    ("data_set", "row"),
    [
        ({"path": "a.jsonl", "type": "alpaca"}, '{"instruction": "a", "output": "b"}'),
        ({"path": "a.jsonl", "type": "completion", "field": "body"}, '{"body": "a"}'),
        ({"path": "a.jsonl", "type": "chat_template", "field_messages": "turns"}, '{"turns": []}'),
    ],
)
def test_columns_of_types(data_set: dict[str, Any], row: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(row)
    assert "QL802" not in codes(AXOLOTL | {"datasets": [data_set]}, tmp_path, with_data=True)
    (tmp_path / "a.jsonl").write_text('{"other": 1}')
    assert "QL802" in codes(AXOLOTL | {"datasets": [data_set]}, tmp_path, with_data=True)


CUSTOM = {"field_instruction": "question", "field_output": "response", "format": "{instruction}"}


@pytest.mark.parametrize(
    ("kind", "row", "found"),
    [
        (CUSTOM, {"question": "a", "response": "b"}, set()),
        (CUSTOM | {"field_output": "respons"}, {"question": "a", "response": "b"}, {"QL802"}),
        (CUSTOM | {"field_instruction": "Question"}, {"question": "a", "response": "b"}, {"QL802"}),
        ({"format": "{instruction}"}, {"instruction": "a", "output": "b"}, set()),
        ({"format": "{instruction}"}, {"question": "a", "response": "b"}, {"QL802"}),
        (CUSTOM | {"field_system": "system"}, {"question": "a", "response": "b"}, set()),  # its default, and optional
        (CUSTOM | {"field_system": "rules"}, {"question": "a", "response": "b"}, {"QL807"}),
        (CUSTOM | {"field_input": "passage"}, {"question": "a", "response": "b"}, {"QL807"}),
        (CUSTOM | {"field_input": "passage"}, {"question": "a", "response": "b", "passage": "c"}, set()),
        ("alpaca_chat.load_qa", {"question": "a", "answer": "b"}, set()),
        ("alpaca_chat.load_qa", {"question": "a", "response": "b"}, {"QL802"}),
        ("alpaca:chat", {"instruction": "a", "response": "b"}, {"QL802"}),
        ("gpteacher", {"instruction": "a", "response": "b"}, set()),
        ("one.of.its.own", {"anything": "a"}, set()),
    ],
)
def test_columns_of_other_types(kind: Any, row: dict[str, str], found: set[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps(row)}\n" * 3)
    data = AXOLOTL | {"datasets": [{"path": "a.jsonl", "type": kind}]}
    assert codes(data, tmp_path, with_data=True) == found
    assert codes(data, tmp_path) == set()


SHARED = {"role": "from", "content": "value"}


@pytest.mark.parametrize(
    ("settings", "turn", "found"),
    [
        ({}, {"role": "user", "content": "a"}, set()),
        ({}, {"from": "human", "value": "a"}, {"QL807"}),
        ({}, {"role": "user", "value": "a"}, {"QL807"}),
        ({"message_property_mappings": SHARED}, {"from": "human", "value": "a"}, set()),
        ({"message_property_mappings": SHARED}, {"role": "user", "content": "a"}, {"QL807"}),
    ],
)
def test_keys_of_turns(settings: dict[str, Any], turn: dict[str, str], found: set[str], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f"{json.dumps({'messages': [turn, turn]})}\n" * 3)
    data = AXOLOTL | {"datasets": [{"path": "a.jsonl", "type": "chat_template", **settings}]}
    assert codes(data, tmp_path, with_data=True) == found


def test_rows_are_counted_in_plain_words(tmp_path: Path) -> None:
    rows = ['{"text": "x"}\n', ROW, ROW]
    (tmp_path / "a.jsonl").write_text("".join(rows))
    found = check_text(yaml.safe_dump(AXOLOTL), file=str(tmp_path / "config.yaml"), with_data=True)
    assert [finding.message for finding in found] == ["1 row of a.jsonl has no 'messages': line 1"]
    (tmp_path / "a.jsonl").write_text("".join(rows[:1] * 3))
    [finding] = check_text(yaml.safe_dump(AXOLOTL), file=str(tmp_path / "config.yaml"), with_data=True)
    assert (finding.message, "the rows have text" in finding.hint) == ("no row of a.jsonl has 'messages'", True)


def test_hub_data_sets_are_not_looked_for(tmp_path: Path) -> None:
    assert codes(AXOLOTL | {"datasets": [{"path": "org/name", "type": "alpaca"}]}, tmp_path, with_data=True) == set()


@pytest.mark.parametrize("base", [AXOLOTL, UNSLOTH], ids=["axolotl", "unsloth"])
def test_golden_rows_in_the_training_data(base: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    golden = tmp_path / "golden.jsonl"
    golden.write_text('{"input": "is it  on?", "target": "Yes."}\n')
    assert codes(base, tmp_path, golden=golden) == {"QL804"}
    golden.write_text('{"input": "Is it off?", "target": "No."}\n')
    assert codes(base, tmp_path, golden=golden) == set()


def test_a_template_file(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(ROW)
    named = AXOLOTL | {"chat_template": "jinja", "chat_template_jinja": "t.jinja"}
    assert codes(named, tmp_path, with_data=True) == {"QL805"}
    (tmp_path / "t.jinja").write_text("{{ messages }}")
    assert codes(named, tmp_path, with_data=True) == set()
    assert codes(named | {"chat_template_jinja": "{{ messages }}"}, tmp_path, with_data=True) == set()
    assert codes(UNSLOTH | {"chat_template": "u.jinja"}, tmp_path, with_data=True) == {"QL805"}


@pytest.mark.parametrize("base", [AXOLOTL, UNSLOTH], ids=["axolotl", "unsloth"])
def test_a_run_that_does_not_fit(base: dict[str, Any], tmp_path: Path) -> None:
    large = base | {"micro_batch_size": 64, "sequence_len": 8192}
    assert "QL851" in codes(large, tmp_path, gpu="a10g")
    assert "QL851" not in codes(base, tmp_path, gpu="a10g")
    assert "QL851" not in codes(large, tmp_path)


def test_what_a_calibration_found_counts_as_in_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A launch validates the config that it planned: with another estimate it would refuse its own plan."""
    tight = AXOLOTL | {"micro_batch_size": 8, "sequence_len": 4096}
    assert "QL851" in codes(tight, tmp_path, gpu="a10g")
    monkeypatch.setenv("QL_CALIBRATION", str(tmp_path / "calibration.json"))
    found = MachineCorrection(Correction(0.3, 0.5), 1.0, "NVIDIA A10G", "mistral-7b", "2026-11-24", {})
    store_correction(load_gpu("a10g"), "axolotl", found)
    here = {"gpu": "a10g", "corrections": memory_corrections(load_gpu("a10g"))}
    assert "QL851" not in codes(tight, tmp_path, **here)
    assert "QL851" in codes(tight | {"sequence_len": 32768}, tmp_path, **here)


@pytest.mark.parametrize(
    ("base", "held_out"),
    [(AXOLOTL, {"val_set_size": 0.05}), (UNSLOTH, {"eval_file": "b.jsonl"})],
    ids=["axolotl", "unsloth"],
)
def test_evaluation_counts_only_where_there_is_one(
    base: dict[str, Any], held_out: dict[str, Any], tmp_path: Path
) -> None:
    many = base | {"eval_batch_size": 256}
    never = {key: None if key == "eval_file" else value for key, value in many.items()}
    assert "QL851" not in codes(never, tmp_path, gpu="a10g")
    assert "QL851" in codes(many | held_out, tmp_path, gpu="a10g")


@pytest.mark.parametrize(
    ("code", "changes", "gpu"),
    [
        ("QL901", {"load_in_4bit": False}, None),
        ("QL902", {"base_model": "google/gemma-2-9b"}, None),
        ("QL903", {"compute_dtype": "bfloat16"}, "t4"),
        ("QL904", {"pad_token": "<|im_end|>"}, None),
        ("QL905", {"eos_token": "</s>"}, None),
        ("QL906", {"gradient_accumulation_steps": 1}, None),
        ("QL706", {"learning_rate": 0.5}, None),
        ("QL707", {"sequence_len": 65536}, None),
        ("QL708", {"lora_target_modules": ["c_attn"]}, None),
        ("QL105", {"quant_type": None, "double_quant": None}, None),
    ],
)
def test_unsloth_configs(code: str, changes: dict[str, Any], gpu: str | None, tmp_path: Path) -> None:
    bad = {
        key: value
        for key, value in (UNSLOTH | changes).items()
        if value is not None or key in ("eval_file", "max_steps")
    }
    assert code in codes(bad, tmp_path, gpu=gpu)
    assert code not in codes(UNSLOTH, tmp_path, gpu=gpu)


@pytest.mark.parametrize(
    ("folder", "data_set", "found"),
    [
        ("exp [1]", {"path": "data/train.jsonl"}, True),
        ("exp [1]", {"path": "json", "data_files": ["train.jsonl"]}, True),
        ("exp [1]", {"path": "/data/train.jsonl"}, False),
        ("exp [1]", {"path": "tatsu-lab/alpaca", "data_files": "train.jsonl"}, False),
        ("exp 1", {"path": "data/train.jsonl"}, False),
    ],
)
def test_relative_data_in_a_folder_that_is_a_pattern(
    folder: str, data_set: dict[str, Any], found: bool, tmp_path: Path
) -> None:
    path = tmp_path / folder / "config.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(AXOLOTL | {"datasets": [data_set | {"type": "chat_template"}] * 2}))
    hits = [one for one in check_files([(str(path), None, True)]).findings if one.code == "QL806"]
    assert [(one.severity, "'[1]'" in one.message) for one in hits] == ([("warning", True)] if found else [])
    assert not [one for one in check_text(path.read_text(), file="config.yaml") if one.code == "QL806"]
