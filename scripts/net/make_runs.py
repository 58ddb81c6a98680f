"""Make the kept runs anew: ``python scripts/net/make_runs.py [NAME…]``, a minute each; needs the trainers.

What is committed was made before the refactoring, and later code must still read it: a run is made anew only when one
is added.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from net.kept_runs import FOLDER, ROOT, RUNS, pack

SETTINGS = {
    "lora_r": 4, "lora_alpha": 8, "effective_batch_size": 4, "micro_batch_size": 2, "eval_batch_size": 2,
    "eval_fraction": 0.1, "logging_steps": 1,
}  # fmt: skip
STEPS = 8
STOP_AT = 5


def main(names: list[str]) -> None:
    for name in names or list(RUNS):
        with tempfile.TemporaryDirectory() as scratch:
            run = Path(scratch).resolve() / name
            make(run, name)
            target = pack(run, name)
        print(f"{target}: {target.stat().st_size:,} bytes", flush=True)


def make(run: Path, name: str) -> None:
    """Launch it, and stop it where its name says."""
    backend = "unsloth" if name in ("stopped-training-unsloth", "stopped-merging") else "axolotl"
    files = ["--data", str(FOLDER / "tickets.jsonl"), "--golden", str(FOLDER / "golden.jsonl")]
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    command = [
        sys.executable, "-m", "launcher", "launch", "--preset", "cpu-tiny", "--backend", backend, *files, *sets,
        "--max-steps", str(STEPS), "--gate", "exact_match>=0", "--price", "0.5", "--out", str(run),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "QL_CALIBRATION": str(run / "no-calibration.json")}
    process = subprocess.Popen(command, cwd=ROOT, env=environment)
    code = 0
    if name.startswith("stopped-training"):
        stop(process, signal.SIGINT, lambda: reached(run, STOP_AT))
        code = 130
    elif name == "stopped-merging":
        stop(process, signal.SIGTERM, lambda: stages(run).get("merge") == "running")
        code = 143
    if process.wait() != code:
        raise SystemExit(f"{name} ended with {process.returncode}, not with {code}")
    print({"state": manifest(run)["state"], **stages(run)}, flush=True)


def stop(process: subprocess.Popen[bytes], number: signal.Signals, seen: Any) -> None:
    while not seen():
        if process.poll() is not None:
            raise SystemExit("it ended before it could be stopped")
        time.sleep(0.02)
    process.send_signal(number)


def manifest(run: Path) -> dict[str, Any]:
    path = run / "run.json"
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"stages": []}
    return data


def stages(run: Path) -> dict[str, str]:
    return {stage["name"]: stage["state"] for stage in manifest(run)["stages"]}


def reached(run: Path, step: int) -> bool:
    """Whether the training has logged that step."""
    path = run / "events.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    events = [json.loads(line) for line in lines if line.endswith("}")]
    return any(event["event"] == "log" and event["step"] >= step for event in events)


if __name__ == "__main__":
    main(sys.argv[1:])
