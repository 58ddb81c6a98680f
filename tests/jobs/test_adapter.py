"""The adapter that ships: in 16 bit, and readable by whoever serves it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.records.jobs import ADAPTER

torch = pytest.importorskip("torch")


def test_the_adapter_is_in_16_bit_and_readable_like_any_other_file(tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    source, out = tmp_path / "trainer", tmp_path / "adapter"
    source.mkdir()
    save_file({"lora_A.weight": torch.ones(2, 4)}, source / "adapter_model.safetensors")
    (source / "adapter_config.json").write_text(json.dumps({"r": 2, "bias": "none", "empty": None}))
    request = {"source": str(source), "out": str(out), "dtype": "float16", "base_model": "b", "chat_template": None}
    assert ADAPTER.do(request, lambda message: None)["tensors"] == 1
    assert load_file(out / "adapter_model.safetensors")["lora_A.weight"].dtype == torch.float16
    modes = {path.name: path.stat().st_mode & 0o777 for path in out.iterdir()}
    assert modes["adapter_model.safetensors"] == modes["adapter_config.json"]
