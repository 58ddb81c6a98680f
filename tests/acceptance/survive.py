"""Start `ql` on a small run of a real trainer, break it, and read what became of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FAULTS = Path(__file__).resolve().parent / "faults"
STEPS = 10
SETTINGS = {"effective_batch_size": 4, "micro_batch_size": 2, "eval_batch_size": 2, "eval_fraction": 0.05}
TIMES = {"max_steps": STEPS, "logging_steps": 1, "keep": "last"}


def few_rows(folder: Path, tickets: Path) -> Path:
    """96 rows of the example."""
    path = folder / "rows.jsonl"
    path.write_text("\n".join(tickets.read_text(encoding="utf-8").splitlines()[:96]) + "\n", encoding="utf-8")
    return path


def ql(*argv: str, fault: dict[str, Any] | None = None) -> subprocess.Popen[str]:
    """`ql ARGV` in a session of its own, with a fault in its trainer (see faults/ql_test_faults.py)."""
    path = os.pathsep.join([*([str(FAULTS)] if fault else []), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path}
    if fault:
        environment["QL_TEST_FAULT"] = json.dumps(fault)
    command = [sys.executable, "-m", "launcher", *argv]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=pipe, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def launch_words(backend: str, data: Path, out: Path, *more: str) -> list[str]:
    sets = [word for key, value in (SETTINGS | TIMES).items() for word in ("--set", f"{key}={value}")]
    words = ["launch", "--preset", "cpu-tiny", "--backend", backend, "--data", str(data), "--out", str(out)]
    return [*words, *sets, "--no-merge", *more]


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    """Wait for the process; its output. It must exit with ``code``."""
    output, _ = process.communicate()
    assert process.returncode == code, output
    return output


def manifest(run: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    return data


def events(run: Path, kind: str) -> list[dict[str, Any]]:
    path = run / "events.jsonl"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    whole = [json.loads(line) for line in text.splitlines() if line.endswith("}")]
    return [event for event in whole if event["event"] == kind]


def wait(process: subprocess.Popen[str], seen: Callable[[], Any]) -> None:
    """Until ``seen()``; the process must not end before. pytest's timeout ends what never comes."""
    while not seen():
        if process.poll() is not None:
            raise AssertionError(process.communicate()[0])
        time.sleep(0.02)


def at_step(run: Path, step: int) -> Callable[[], bool]:
    return lambda: any(event["step"] >= step for event in events(run, "log"))


def gone(run: Path) -> bool:
    """Whether no process is left that works on the run."""
    needle = f"QL_EVENTS={run / 'events.jsonl'}".encode()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if needle in (folder / "environ").read_bytes().split(b"\0"):
                return False
        except OSError:
            continue
    return True


def adapter(run: Path) -> bytes:
    return (run / "adapter" / "adapter_model.safetensors").read_bytes()
