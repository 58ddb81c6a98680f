"""What would make the merge of another base than was trained on is not launched."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.configs.validate import read_config
from launcher.trainers.axolotl.config_file import CONFIG_FILE

BASE = {"base_model": "a/b", "adapter": "qlora", "load_in_4bit": True, "datasets": [], "learning_rate": 1e-4}


def refused(version: tuple[int, int], **keys: Any) -> list[str]:
    config: Any = read_config(BASE | keys, "axolotl", version)
    return [".".join(map(str, path)) for path, _ in CONFIG_FILE.refusals(config)]


@pytest.mark.parametrize("version", [(0, 20), (0, 21)])
def test_a_base_that_another_library_quantised(version: tuple[int, int]) -> None:
    assert refused(version, nf4_backend="torchao") == ["nf4_backend"]
    assert refused(version, nf4_backend="bitsandbytes") == refused(version) == []


@pytest.mark.parametrize("version", [(0, 19), (0, 20), (0, 21)])
def test_experts_in_4_bit(version: tuple[int, int]) -> None:
    assert refused(version, quantize_moe_experts=True) == ["quantize_moe_experts"]


@pytest.mark.parametrize("adapter", ["mixlora", "mora"])
def test_an_adapter_that_is_no_lora(adapter: str) -> None:
    assert refused((0, 21), adapter=adapter) == ["adapter"]
