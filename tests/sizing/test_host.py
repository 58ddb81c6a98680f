"""What a run needs beside the card: disk space and host memory."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.catalog import load_model
from launcher.sizing import MemoryRequest, disk_space, merge_host_memory
from launcher.trainers import get_trainer

JOB = MemoryRequest(load_model("llama-2-7b"), get_trainer("axolotl").terms, "qlora", 2048, 2)
GIB = 2**30


def test_a_merged_model_is_as_large_as_the_base_in_16_bit() -> None:
    found = disk_space(JOB, download=True)
    assert found.base_gib == pytest.approx(6_738_415_616 * 2 / GIB)
    assert found.merged_gib == pytest.approx(found.base_gib, abs=0.03)
    assert found.total_gib == pytest.approx(
        found.base_gib + found.checkpoints_gib + found.adapter_gib + found.merged_gib
    )


def test_what_is_not_done_takes_no_space() -> None:
    found = disk_space(JOB, download=False, merge=False)
    assert found.base_gib == found.merged_gib == 0
    assert 0 < found.adapter_gib < found.checkpoints_gib < 2


def test_a_base_stored_in_4_bit_is_a_third_as_large() -> None:
    small = disk_space(replace(JOB, prequantized=True), download=True).base_gib
    assert 3.5 < small < disk_space(JOB, download=True).base_gib / 3


def test_a_larger_adapter_makes_larger_checkpoints() -> None:
    assert (
        disk_space(replace(JOB, lora_r=64), download=True).checkpoints_gib
        > 2 * disk_space(JOB, download=True).checkpoints_gib
    )


def test_a_merge_needs_memory_for_its_largest_tensor_only() -> None:
    assert merge_host_memory(load_model("llama-2-70b")) < 5
    assert merge_host_memory(load_model("llama-2-70b")) > merge_host_memory(load_model("llama-2-7b"))
