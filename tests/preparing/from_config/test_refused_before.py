"""What would fail after minutes of training, or in the merge, is refused before anything starts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from launcher.cli.main import main

CUSTOM = {"field_instruction": "question", "field_output": "response", "format": "[INST] {instruction} [/INST]"}
KERNELS = dict.fromkeys(("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"), False)
CONFIG: dict[str, Any] = {
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_target_linear": True,
    "datasets": [{"path": "rows.jsonl", "ds_type": "json", "type": CUSTOM}],
    "val_set_size": 0,
    "sequence_len": 512,
    "output_dir": "out",
    "micro_batch_size": 1,
    "gradient_accumulation_steps": 4,
    "num_epochs": 1,
    "max_steps": 3,
    "optimizer": "adamw_torch",
    "lr_scheduler": "cosine",
    "learning_rate": 2e-4,
    **KERNELS,
}
TINY = Path(__file__).resolve().parents[3] / "presets" / "models" / "cpu-tiny"


def launched(folder: Path, **changes: Any) -> Result:
    rows = [{"question": f"q{number}", "response": "a"} for number in range(30)]
    (folder / "rows.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    (folder / "config.yml").write_text(yaml.safe_dump({"base_model": str(TINY), **CONFIG, **changes}))
    arguments = ["--config", str(folder / "config.yml"), "--preset", "cpu-tiny", "--dry-run"]
    return CliRunner().invoke(main, ["launch", *arguments])


def test_a_config_of_ones_own_type_can_start(tmp_path: Path) -> None:
    assert launched(tmp_path).exit_code == 0


@pytest.mark.parametrize("init", ["olora", "pissa", "pissa_niter_4", "corda", "loftq", "lora_ga"])
def test_an_initialisation_that_no_merge_can_undo(init: str, tmp_path: Path) -> None:
    done = launched(tmp_path, peft_init_lora_weights=init)
    assert done.exit_code == 1
    assert f"peft_init_lora_weights: {init}" in done.stderr
    assert done.stderr.count("config.yml:") == 1


@pytest.mark.parametrize("init", [True, False, "gaussian", "orthogonal"])
def test_an_initialisation_that_leaves_the_base_alone(init: Any, tmp_path: Path) -> None:
    assert launched(tmp_path, peft_init_lora_weights=init).exit_code == 0


def test_new_tokens_without_trained_embeddings(tmp_path: Path) -> None:
    done = launched(tmp_path, tokens=["<tool_call_new>"])
    assert done.exit_code == 1
    assert "tokens with adapter: lora, and lora_modules_to_save lacks embed_tokens, lm_head" in done.stderr


@pytest.mark.parametrize("field", ["field_output", "field_instruction"])
def test_a_column_that_no_row_has(field: str, tmp_path: Path) -> None:
    data_set = {"path": "rows.jsonl", "ds_type": "json", "type": {**CUSTOM, field: "respons"}}
    done = launched(tmp_path, datasets=[data_set])
    assert done.exit_code == 1
    assert "no row of rows.jsonl has 'respons'" in done.stderr
    assert "the rows have question, response" in done.stderr
