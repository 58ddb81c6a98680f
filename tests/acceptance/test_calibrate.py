"""`ql calibrate` with the real trainers on this machine's CPU: measured, stored, and used by the next estimate."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def ql(store: Path, *arguments: str) -> tuple[int, Any, str]:
    environment = {**os.environ, "QL_CALIBRATION": str(store), "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, "-m", "launcher", *arguments, "--json"],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    return done.returncode, json.loads(done.stdout or "null"), done.stderr


@pytest.mark.acceptance
@pytest.mark.parametrize("backend", ["axolotl", pytest.param("unsloth", marks=pytest.mark.slow)])
def test_a_calibration_on_the_cpu_corrects_the_next_estimate(backend: str, tmp_path: Path) -> None:
    store = tmp_path / "calibration.json"
    _, before, _ = ql(store, "estimate", "--preset", "cpu-tiny", "--backend", backend)
    code, found, said = ql(store, "calibrate", "--preset", "cpu-tiny", "--backend", backend)
    assert code == 0, said
    measured = found["measured"]["device_gib"]
    assert 0.2 < measured < 4
    assert found["measured"]["tokens_per_second"] > 0
    assert found["predicted"]["device_gib"] == pytest.approx(before["vram"]["peak_gib"], abs=0.01)
    assert found["predicted_after"]["device_gib"] == pytest.approx(measured, abs=0.01)
    _, after, _ = ql(store, "estimate", "--preset", "cpu-tiny", "--backend", backend)
    assert after["vram"]["peak_gib"] == pytest.approx(measured, abs=0.02)
    assert any("corrected by a calibration on cpu" in note for note in after["notes"])
    other = {"axolotl": "unsloth", "unsloth": "axolotl"}[backend]
    _, untouched, _ = ql(store, "estimate", "--preset", "cpu-tiny", "--backend", other)
    assert not any("calibration" in note for note in untouched["notes"])
    assert ql(store, "calibrate", "--forget")[1]["forgotten"] == 1


@pytest.mark.acceptance
def test_a_plan_for_another_card_is_refused_before_anything_runs(tmp_path: Path) -> None:
    code, _, said = ql(tmp_path / "calibration.json", "calibrate", "--preset", "a10g-7b")
    assert code == 1
    assert "this machine has CPU" in said
    assert not (tmp_path / "calibration.json").exists()
