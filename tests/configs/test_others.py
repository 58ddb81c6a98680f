"""A file of another tool is one finding that names the tool, and what its keys are called here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from launcher.cli.main import main
from launcher.configs.validate import check_text

CASES = Path(__file__).parent / "other_tools"
TRAINING = {"learning_rate": 2e-4, "num_train_epochs": 3, "output_dir": "out", "seed": 1}
FILES: list[tuple[str, dict[str, Any]]] = [
    ("LLaMA-Factory", yaml.safe_load((CASES / "llama_factory.yaml").read_text())),
    ("LLaMA-Factory", {"model_name_or_path": "a/b", "stage": "sft", "template": "qwen", "dataset": "mine"}),
    ("LLaMA-Factory", {**TRAINING, "finetuning_type": "lora", "cutoff_len": 2048}),
    ("TRL", {**TRAINING, "model_name_or_path": "a/b", "dataset_name": "c/d", "use_peft": True}),
    ("an Unsloth notebook", yaml.safe_load((CASES / "notebook.yaml").read_text())),
    ("an Unsloth notebook", {"model_name": "a/b", "max_seq_length": 2048, "load_in_4bit": True, "r": 16}),
    ("transformers' TrainingArguments", TRAINING),
    ("the alignment handbook", {**TRAINING, "dataset_mixer": {"a/b": 1.0}, "model_name_or_path": "c/d"}),
    ("LitGPT", {"checkpoint_dir": "a/b", "lora_r": 8, "data": {"class_path": "x"}}),
    ("mlx-lm", {"model": "a/b", "iters": 100, "lora_parameters": {"rank": 8}}),
    ("torchtune", {"model": {"_component_": "torchtune.models.llama3_1.lora_llama3_1_8b"}, "epochs": 1}),
    ("DeepSpeed", {"zero_optimization": {"stage": 2}, "bf16": {"enabled": True}}),
    ("Accelerate", {"compute_environment": "LOCAL_MACHINE", "distributed_type": "FSDP"}),
    ("a PEFT adapter", {"peft_type": "LORA", "r": 8, "lora_alpha": 16}),
    ("a model", {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 64}),
]


@pytest.mark.parametrize(("tool", "data"), FILES)
@pytest.mark.parametrize("kind", [None, "axolotl", "unsloth"])
def test_another_tools_file_is_one_finding(tool: str, data: dict[str, Any], kind: str | None) -> None:
    [finding] = check_text(yaml.safe_dump(data), file="my.yaml", kind=kind)
    assert (finding.code, finding.severity) == ("QL012", "error")
    assert f"a file of {tool}" in finding.message


@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("llama_factory.yaml", "axolotl", ["lora_rank is lora_r", "cutoff_len is sequence_len"]),
        ("notebook.yaml", "axolotl", ["max_seq_length is sequence_len", "optim is optimizer"]),
        (
            "notebook.yaml",
            "unsloth",
            ["max_seq_length is sequence_len", "per_device_train_batch_size is micro_batch_size",
             "use_gradient_checkpointing is gradient_checkpointing", "model_name is base_model", "r is lora_r",
             "optim is optimizer", "dtype is compute_dtype", "target_modules is lora_target_modules"],
        ),
    ],
)  # fmt: skip
def test_it_says_what_the_keys_are_called_here(name: str, kind: str, names: list[str]) -> None:
    [finding] = check_text((CASES / name).read_text(), file=name, kind=kind)
    assert [said for said in names if said not in finding.hint] == []


def test_such_files_in_a_folder_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    assert CliRunner().invoke(main, ["validate", "."]).exit_code == 0
    assert CliRunner().invoke(main, ["validate", "notebook.yaml"]).exit_code == 1


def test_a_launch_says_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(CASES)
    done = CliRunner().invoke(main, ["launch", "--config", "llama_factory.yaml", "--gpu", "a10g", "--dry-run"])
    assert done.exit_code == 1
    assert "a file of LLaMA-Factory" in done.stderr
    assert done.stderr.count("QL") == 1


@pytest.mark.parametrize(
    "data",
    [
        {"base_model": "a/b", "datasets": [{"path": "x", "type": "alpaca"}], "learning_rate": 1, "output_dir": "o",
         "lora_rank": 8, "report_to": "none", "cutoff_len": 10},
        {"base_model": "a/b", "adapter": "lora", "lora_target": "all"},
        {"base_modle": "a/b", "learning_rate": 2e-4},
    ],
)  # fmt: skip
def test_a_config_with_a_foreign_word_stays_a_config(data: dict[str, Any]) -> None:
    found = [finding.code for finding in check_text(yaml.safe_dump(data), file="my.yaml")]
    assert "QL101" in found
    assert "QL012" not in found
