"""`ql launch --method both` with the real trainers: two runs of one job, compared, with the trade named."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.preparing.both import OWN

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]


def ql(*argv: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, "-m", "launcher", *argv]
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_both_methods_on_one_job(backend: str, tmp_path: Path, tickets: Path, golden: Path) -> None:
    out = tmp_path / "both"
    done = ql(
        "launch", "--preset", "cpu-tiny", "--method", "both", "--backend", backend, "--data", str(tickets),
        "--golden", str(golden), "--gate", "exact_match>=0.8", "--price", "0.5", "--out", str(out), "--json",
        cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    facts: dict[str, Any] = json.loads(done.stdout)
    manifests = {method: json.loads((out / method / "run.json").read_text()) for method in ("qlora", "lora")}
    for method, manifest in manifests.items():
        assert manifest["state"] == "finished"
        assert manifest["plan"]["method"] == method
        assert all(gate["passed"] for gate in manifest["gates"])
    assert {row["key"] for row in facts["plan"]} <= OWN
    assert manifests["qlora"]["data"]["sha256"] == manifests["lora"]["data"]["sha256"]
    assert manifests["lora"]["quantization"]["quant_type"] is None
    trade = facts["trade"]
    assert trade["run"] == trade["recommend"]
    assert all(trade[key] is not None for key in ("points", "gib", "seconds", "usd"))
    assert abs(trade["points"]) <= 10  # both learn the task
    assert json.loads((out / "lora" / "comparison.json").read_text()) == facts
    assert "side by side" in (out / "lora" / "comparison.html").read_text()
    again = ql("compare", str(out / "qlora"), str(out / "lora"), "--json", cwd=tmp_path)
    assert json.loads(again.stdout)["trade"] == trade
