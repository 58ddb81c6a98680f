"""The benchmark runs, and tells our merge from Axolotl's default: both are held against the model that was trained."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance
pytest.importorskip("axolotl")


def test_side_by_side_with_axolotl(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "results.json"
    script = root / "benchmarks" / "merge" / "compare.py"
    options = ["--sizes", "tiny", "--runs", "1", "--fidelity", "tiny", "--contenders", "ql", "axolotl default", "cp"]
    done = subprocess.run(
        [sys.executable, str(script), "--work", str(tmp_path / "work"), "--out", str(out), *options],
        capture_output=True,
        text=True,
        check=False,
        timeout=800,
    )
    assert done.returncode == 0, done.stderr
    assert "| tiny | ql |" in done.stdout
    results = json.loads(out.read_text())["sizes"]["tiny"]
    for name in ("ql", "axolotl default", "cp"):
        assert results["contenders"][name][0]["exit_code"] == 0
    ours, theirs = results["fidelity"]["ql"], results["fidelity"]["axolotl default"]
    assert ours["relative_l2"] <= 0.003
    assert ours["kl"] <= 2e-6
    assert ours["argmax_agreement"] >= 0.995
    assert theirs["relative_l2"] > 10 * ours["relative_l2"]
    peaks = {name: runs[0]["peak_mb"] for name, runs in results["contenders"].items()}
    assert peaks["ql"] < peaks["axolotl default"]
