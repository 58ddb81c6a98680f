"""SIGTERM to every process of a run, at any instant: no step is lost, and what comes of it is the same."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.survive import at_step, end, events, few_rows, gone, manifest, ql, wait

pytestmark = pytest.mark.acceptance
STEPS = 10
SETTINGS = {
    "effective_batch_size": 4, "micro_batch_size": 2, "eval_batch_size": 2, "eval_fraction": 0.2, "max_steps": STEPS,
    "logging_steps": 1, "keep": "best",
}  # fmt: skip


def words(backend: str, data: Path, out: Path) -> list[str]:
    sets = [word for key, value in SETTINGS.items() for word in ("--set", f"{key}={value}")]
    return ["launch", "--preset", "cpu-tiny", "--backend", backend, "--data", str(data), "--out", str(out), *sets]


def tree(pid: int) -> list[int]:
    """The process and all that it has started, whatever session they are in."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
        children.setdefault(parent, []).append(int(folder.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def term_all(process: subprocess.Popen[str]) -> None:
    """As a scheduler signals a job: its processes one after another, in no order of rank."""
    found = tree(process.pid)
    random.Random(len(found)).shuffle(found)
    for pid in found:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            continue


def products(run: Path) -> dict[str, bytes]:
    files = [*sorted(run.glob("adapter/*.safetensors")), *sorted(run.glob("merged/*.safetensors"))]
    assert len(files) >= 2
    return {path.relative_to(run).as_posix(): path.read_bytes() for path in files}


def undisturbed(backend: str, folder: Path, tickets: Path) -> tuple[Path, Path, float]:
    """Rows, a run of them that was left alone, and the seconds that it took."""
    rows, run = few_rows(folder, tickets), folder / "run"
    began = time.monotonic()
    end(ql(*words(backend, rows, run)))
    return rows, run, time.monotonic() - began


def saved_at(run: Path, step: int) -> Callable[[], bool]:
    return lambda: any(event["step"] >= step for event in events(run, "save"))


def disturbed(
    backend: str, rows: Path, run: Path, draw: random.Random, seconds: float | None = None, *, last: bool = False
) -> dict[str, Any]:
    """A run whose whole tree is terminated at a random instant, and started again until it is done.

    The instant is within ``seconds`` of its start, or, without them, after a random step of the training; with ``last``
    as the last step begins, whose evaluation is then owed by a training that has no step left.
    """
    process = ql(*words(backend, rows, run))
    facts: dict[str, Any] = {}
    if seconds is not None:
        facts["after"] = round(seconds * draw.uniform(0.02, 1.0), 2)
        time.sleep(facts["after"])
    else:
        facts["after step"] = STEPS - 1 if last else draw.randrange(1, STEPS)
        # Of the last but one step the checkpoint is waited for: a signal before it would stop the training there.
        wait(process, saved_at(run, STEPS - 1) if last else at_step(run, facts["after step"]))
        facts["and"] = 0.0 if last else round(draw.uniform(0.0, 0.5), 2)
        time.sleep(facts["and"])
    term_all(process)
    output = process.communicate()[0]
    assert gone(run)
    facts["code"] = process.returncode
    if process.returncode == 0:  # it was done already
        return facts
    assert process.returncode in (143, -signal.SIGTERM), output
    if not (run / "run.json").is_file():  # before there was a run
        end(ql(*words(backend, rows, run)))
        return facts
    logged = max((event["step"] for event in events(run, "log")), default=0)
    saved = max((event["step"] for event in events(run, "save")), default=0)
    assert saved == logged, f"steps {saved + 1} to {logged} were lost"
    facts |= {"step": logged, "stage": next(s["name"] for s in manifest(run)["stages"] if s["state"] != "done")}
    end(ql("start", str(run)))
    return facts


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_a_term_to_every_process_loses_no_step(backend: str, tmp_path: Path, tickets: Path) -> None:
    rows, alone, _ = undisturbed(backend, tmp_path, tickets)
    seed = random.randrange(10**6)
    facts = disturbed(backend, rows, tmp_path / "again", random.Random(seed))
    assert products(tmp_path / "again") == products(alone), (seed, facts)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_at_ten_random_instants(backend: str, tmp_path: Path, tickets: Path) -> None:
    rows, alone, seconds = undisturbed(backend, tmp_path, tickets)
    draw = random.Random(f"{backend} 16")
    told = []
    for count in range(10):
        within = seconds if count % 2 else None
        told.append(disturbed(backend, rows, tmp_path / f"run{count}", draw, within, last=count == 0))
        assert products(tmp_path / f"run{count}") == products(alone), told
    assert sum(facts.get("step", 0) > 0 for facts in told) >= 4, f"too few instants within the training: {told}"
