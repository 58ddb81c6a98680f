"""The engine's paths give the same bytes: held or read again, own NF4 or the library's, one block or many."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import RunFailed
from launcher.jobs.merge import engine, library, sources


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.safetensors")}


@pytest.fixture
def trained(make_base: Callable[..., Any], train: Callable[..., Any]) -> Any:
    return train(make_base(), load_dtype="float16")


@pytest.mark.parametrize("family", ["llama", "mixtral"])
def test_tensors_too_large_to_hold_are_read_again(
    family: str,
    make_base: Callable[..., Any],
    train: Callable[..., Any],
    merge: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trained = train(make_base(family), load_dtype="float16")
    held, _ = merge(trained)
    monkeypatch.setattr(sources, "HOLD_BYTES", 1000)
    monkeypatch.setattr(engine, "CPU_BLOCK", 1 << 12)
    again, _ = merge(trained, name="again")
    assert shards(held) == shards(again)


def test_the_librarys_path_gives_the_same_bytes(
    trained: Any, merge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    own, _ = merge(trained)
    monkeypatch.setattr(library, "agrees_with_nf4", lambda: False)
    theirs, _ = merge(trained, name="theirs")
    assert shards(own) == shards(theirs)


def test_the_path_of_a_gpu_gives_the_same_bytes(
    trained: Any, merge: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a GPU does but for being one: whole tensors through the library, large blocks, no scratch space."""
    own, _ = merge(trained)
    real = engine.Engine.__init__

    def as_on_a_gpu(self: Any, *arguments: Any) -> None:
        real(self, *arguments)
        self.on_cpu, self.block = False, engine.GPU_BLOCK

    monkeypatch.setattr(engine.Engine, "__init__", as_on_a_gpu)
    monkeypatch.setattr(library, "agrees_with_nf4", lambda: False)
    theirs, _ = merge(trained, name="theirs")
    assert shards(own) == shards(theirs)


def test_the_reported_errors_are_those_of_the_weights(trained: Any, merge: Callable[..., Any]) -> None:
    """delta_error and delta_vs_quant_error, from the definition, for one module of which all rows are measured."""
    import bitsandbytes.functional as bnb
    from safetensors.torch import load_file

    folder, result = merge(trained)
    base, adapter = (
        load_file(trained.base / "model.safetensors"),
        load_file(trained.adapter / "adapter_model.safetensors"),
    )
    stored = load_file(next(folder.glob("*.safetensors")))
    rounding = delta_size = quantisation = 0.0
    for module in trained.record["quantized_modules"]:
        weights = base[f"{module}.weight"].half()
        codes, state = bnb.quantize_4bit(weights, quant_type="nf4", compress_statistics=True)
        restored = bnb.dequantize_4bit(codes, state).float()
        a, b = (adapter[f"base_model.model.{module}.lora_{part}.weight"] for part in "AB")
        delta = 2 * (b @ a)
        rounding += float((stored[f"{module}.weight"].float() - (restored + delta)).square().sum())
        delta_size += float(delta.square().sum())
        quantisation += float((restored - weights.float()).square().sum())
    assert result["merged_modules"] == len(trained.record["quantized_modules"])
    assert result["delta_error"] == pytest.approx((rounding / delta_size) ** 0.5, rel=0.01)
    assert result["delta_vs_quant_error"] == pytest.approx((delta_size / quantisation) ** 0.5, rel=0.01)


def test_cuda_that_is_not_there_is_said() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RunFailed, match="no CUDA device"):
        engine.choose_device("cuda", 1)
    assert engine.choose_device("auto", 1)[1] == "no GPU"


def test_peak_memory_follows_the_largest_tensor_and_not_the_model(root: Path, tmp_path: Path) -> None:
    """Peak resident memory (VmHWM) of the job on a small and on a four times deeper model: within 10 %."""
    made = subprocess.run(
        [sys.executable, "-c", MAKE.format(root=str(root), folder=str(tmp_path))],
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    peaks = []
    for layers in (3, 12):
        base, adapter = tmp_path / f"base-{layers}", tmp_path / f"adapter-{layers}"
        record = json.loads((adapter / "quantization.json").read_text())
        request = {"base": str(base), "adapter": str(adapter), "out": str(tmp_path / f"out-{layers}"), "record": record}
        (tmp_path / "request.json").write_text(json.dumps({**request, "device": "cpu"}))
        argv = [sys.executable, str(root / "launcher" / "jobs" / "worker.py"), "merge", str(tmp_path / "request.json")]
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        assert process.returncode == 0
        peaks.append(usage.ru_maxrss)
    size = sum(path.stat().st_size for path in (tmp_path / "base-12").glob("*.safetensors"))
    assert size > 100e6
    assert peaks[1] < 1.10 * peaks[0], peaks


MAKE = """
import sys
sys.path.insert(0, {root!r})
from pathlib import Path
from benchmarks.merge.models import Shape, make_adapter, make_base
for layers in (3, 12):
    shape = Shape(layers, hidden=512, intermediate=2048, vocabulary=8000, heads=8, kv_heads=8)
    base = Path({folder!r}) / f"base-{{layers}}"
    make_base(base, shape)
    make_adapter(Path({folder!r}) / f"adapter-{{layers}}", base, shape)
"""
