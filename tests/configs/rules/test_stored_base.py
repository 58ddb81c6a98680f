"""QL512: Axolotl's LoRA kernels on a base that is in 4 bit on disk, from another dtype than the run computes in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.configs.validate import check_text
from tests.support.stored_base import write_stored_base

BASE: dict[str, Any] = {
    "base_model": "base", "adapter": "qlora", "load_in_4bit": True, "lora_mlp_kernel": True, "lora_qkv_kernel": True,
    "lora_o_kernel": True, "bf16": False, "fp16": True,
}  # fmt: skip
FP16: dict[str, Any] = {"bf16": "auto", "fp16": None}
UNSET = dict.fromkeys(("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel"))


def marked(folder: Path, changes: dict[str, Any], gpu: str | None = None) -> list[str]:
    config = {key: value for key, value in (BASE | changes).items() if value is not None}
    found = check_text(yaml.safe_dump(config), file=str(folder / "config.yaml"), kind="axolotl", gpu=gpu)
    return sorted(finding.path + ": " + finding.message for finding in found if finding.code == "QL512")


def test_the_two_kernels_that_fail_are_marked(tmp_path: Path) -> None:
    write_stored_base(tmp_path / "base", "bfloat16")
    said = "fails in float16 on this base, which is stored in NF4, from bfloat16"
    assert marked(tmp_path, {}) == [f"{key}: {key} {said}" for key in ("lora_mlp_kernel", "lora_qkv_kernel")]
    assert marked(tmp_path, {"adapter": "lora", "load_in_4bit": False}), "Axolotl loads it in 4 bit all the same"
    assert len(marked(tmp_path, UNSET)) == 2, "unset means on"
    assert len(marked(tmp_path, FP16, gpu="t4")) == 2, "auto is float16 there"


@pytest.mark.parametrize(
    ("changes", "gpu"),
    [
        ({"bf16": True, "fp16": None}, None),
        ({"lora_mlp_kernel": False, "lora_qkv_kernel": False}, None),
        (FP16, "a10g"),  # auto is bfloat16 there
        (FP16, None),  # and nobody knows without a card
        (UNSET | {"trust_remote_code": True}, None),
        ({"adapter": None}, None),
    ],
)
def test_nothing_is_said_where_they_work(tmp_path: Path, changes: dict[str, Any], gpu: str | None) -> None:
    write_stored_base(tmp_path / "base", "bfloat16")
    assert marked(tmp_path, changes, gpu) == []


def test_nor_of_a_base_in_16_bit_or_of_the_dtype_computed_in(tmp_path: Path) -> None:
    write_stored_base(tmp_path / "base", "float16")
    write_stored_base(tmp_path / "plain", None, config={"quantization_config": None, "dtype": "bfloat16"})
    assert marked(tmp_path, {}) == marked(tmp_path, {"base_model": "plain"}) == []
    assert len(marked(tmp_path, {"bf16": True, "fp16": None})) == 2, "the other way round it fails too"
