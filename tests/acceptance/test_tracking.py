"""`--track`: both trainers' own integrations really write, offline, under one run name and with the same settings."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.acceptance, pytest.mark.slow]

NAMED = ("learning_rate", "per_device_train_batch_size", "gradient_accumulation_steps", "seed", "max_steps",
         "lr_scheduler_type", "weight_decay", "run_name", "project")  # fmt: skip

# MLflow is not part of the environment of `make`; where it is installed it is tried too.
NAMES = ("tensorboard", "trackio", "wandb", *(["mlflow"] if find_spec("mlflow") else []))


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, tickets: Path) -> dict[str, Path]:
    """A short run of each trainer with TensorBoard, Trackio and W&B, in a folder of the same name."""
    pytest.importorskip("trackio")
    found = {}
    for backend in ("axolotl", "unsloth"):
        folder = tmp_path_factory.mktemp(backend)
        environment = {**os.environ, "HF_HOME": str(folder / "hub"), "WANDB_SILENT": "true"}
        argv = [sys.executable, "-m", "launcher", "launch", "--preset", "cpu-tiny", "--data", str(tickets)]
        argv += ["--backend", backend, "--max-steps", "3", "--no-merge", "--json", "--out", str(folder / "tracked")]
        argv += ["--set", "logging_steps=1", *(f"--track={name}" for name in NAMES)]
        done = subprocess.run(argv, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        found[backend] = folder / "tracked"
    return found


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_tensorboard_has_the_losses(runs: dict[str, Path], backend: str) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(runs[backend] / "tracking" / "tensorboard" / "tracked"))
    events.Reload()
    logged = [json.loads(line) for line in (runs[backend] / "events.jsonl").read_text().splitlines()]
    losses = [event["loss"] for event in logged if event["event"] == "log"]
    shown = [point.value for point in events.Scalars("train/loss")]
    assert shown == pytest.approx(losses, rel=1e-4)
    assert events.Scalars("eval/loss")


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_trackio_and_wandb_have_the_run(runs: dict[str, Path], backend: str) -> None:
    assert trackio_config(runs[backend])["run_name"] == "tracked"
    assert len(trackio_rows(runs[backend], "SELECT step FROM metrics WHERE run_name = 'tracked'")) >= 3
    offline = list((runs[backend] / "tracking" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(offline) == 1
    content = offline[0].read_bytes()
    assert b"tracked" in content
    assert b"train/loss" in content or b"loss" in content


@pytest.mark.skipif("mlflow" not in NAMES, reason="MLflow is not installed")
@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_mlflow_has_the_run(runs: dict[str, Path], backend: str) -> None:
    database = runs[backend] / "tracking" / "mlflow.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT name, status FROM runs").fetchall() == [("tracked", "FINISHED")]
        assert ("ql",) in connection.execute("SELECT name FROM experiments").fetchall()
        steps = connection.execute("SELECT DISTINCT step FROM metrics WHERE key = 'loss'").fetchall()
    assert len(steps) == 3


def test_both_trainers_log_the_same_settings(runs: dict[str, Path]) -> None:
    axolotl, unsloth = (trackio_config(runs[backend]) for backend in ("axolotl", "unsloth"))
    assert {key: axolotl[key] for key in NAMED} == {key: unsloth[key] for key in NAMED}
    assert axolotl["project"] == "ql"
    assert axolotl["max_steps"] == 3


def trackio_rows(run: Path, query: str) -> list[Any]:
    database = run / "tracking" / "trackio" / "ql.db"
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as connection:
        return connection.execute(query).fetchall()


def trackio_config(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(trackio_rows(run, "SELECT config FROM configs WHERE run_name = 'tracked'")[0][0])
    return found
