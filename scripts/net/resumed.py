"""The stopped runs brought to their end by the program as it is now, with the real trainers: what came of them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from net.kept_runs import RUNS, unpack
from net.store import Cases
from net.work import ROOT, Sections, Work

STOPPED = tuple(name for name in RUNS if name.startswith("stopped"))
DIGITS = 2  # of a loss: the last ones differ from machine to machine
TIMED = {"trainer/unsloth_code", "trainer/prepared"}  # caches, whose files are named by what they hold


def cases(work: Work) -> Cases:
    return {name: one(work, name) for name in STOPPED}


def one(work: Work, name: str) -> Sections:
    """Resume the run ``name``; which stages and events came of it, the shape of run.json, the names of its files."""
    run = unpack(name, work.folder / "runs")
    argv = [sys.executable, "-m", "launcher", "resume", str(run), "--trainer-python", sys.executable]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QL_CALIBRATION": str(work.folder / "no-calibration.json")}
    done = subprocess.run(argv, cwd=work.folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return {"exit": f"{done.returncode}\n", "stderr": work.plain(done.stderr)}
    data = json.loads((run / "run.json").read_text(encoding="utf-8"))
    lines = (run / "events.jsonl").read_text(encoding="utf-8").splitlines()
    events = [json.loads(line) for line in lines]
    facts = {
        "state": data["state"],
        "stages": {stage["name"]: stage["state"] for stage in data["stages"]},
        "resumes": [{"stage": item["stage"], "from_step": item["from_step"]} for item in data["resumes"]],
        "gates": [gate["passed"] for gate in data["gates"]],
        "steps": data["training"]["steps"],
        "logged": [event["step"] for event in events if event["event"] == "log"],
        "final_loss": round(data["training"]["final_loss"], DIGITS),
        "events": dict(sorted(Counter(event["event"] for event in events).items())),
        "merged_modules": data["merge"]["merged_modules"],
    }
    return {
        "exit": "0\n",
        "facts": json.dumps(facts, indent=1) + "\n",
        "run.json": "".join(f"{line}\n" for line in shape(data)),
        "files": "".join(f"{name}\n" for name in _names(run)),
    }


def shape(data: Any, path: str = "") -> list[str]:
    """Every key of the data with the type of its value; of a list the shape of its first item."""
    if isinstance(data, dict):
        found = [line for key in data for line in shape(data[key], f"{path}.{key}" if path else str(key))]
        return found or [f"{path}: empty"]
    if isinstance(data, list):
        return shape(data[0], f"{path}[]") if data else [f"{path}: empty"]
    return [f"{path}: {'number' if type(data) in (int, float) else type(data).__name__}"]


def _names(run: Path) -> list[str]:
    names = sorted(path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file())
    return [name for name in names if not name.startswith(tuple(TIMED))]
