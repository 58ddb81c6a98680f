"""Trackers: what is added for each, that it stays on this machine, and that the person's environment wins."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from launcher.cli.launch import command
from launcher.errors import RunFailed
from launcher.json_schema import load_schema
from launcher.records.environment import Environment
from launcher.runs.preflight import check_trackers
from launcher.trainers import get_trainer
from launcher.trainers.axolotl import launch as axolotl
from launcher.trainers.tracking import TRACKERS, tracking
from launcher.trainers.unsloth import launch as unsloth

VARIABLES = ("WANDB_MODE", "WANDB_PROJECT", "WANDB_DIR", "MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME",
             "TENSORBOARD_LOGGING_DIR", "TRACKIO_DIR")  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "cpu-tiny-1"
    folder.mkdir()
    (folder / "config.yaml").write_text("base_model: here\n")
    return folder


def test_tracking_is_off_unless_asked_for(folder: Path) -> None:
    for name in ("axolotl", "unsloth"):
        overlay = get_trainer(name).launch.overlay(folder, "python", {})
        assert overlay.environment["WANDB_MODE"] == "disabled"
        assert not {"report_to", "run_name"} & set(overlay.config)
        assert not [key for key in overlay.config if key.startswith("use_")]
    assert not (folder / "tracking").exists()


@pytest.mark.parametrize("name", TRACKERS)
def test_each_tracker_writes_into_the_run_under_the_runs_name(folder: Path, name: str) -> None:
    found = tracking([name], folder)
    assert axolotl.tracker_keys(found)[f"use_{name}"] is True
    assert unsloth.tracker_keys(found) == {"report_to": [name], "run_name": "cpu-tiny-1", "project": "ql"}
    assert found.environment["QL_RUN_NAME"] == "cpu-tiny-1"
    assert [value for value in found.environment.values() if str(folder / "tracking") in value]
    assert found.environment.get("WANDB_MODE", "offline") == "offline"


def test_the_keys_are_keys_of_the_trainers(folder: Path) -> None:
    found = tracking(list(TRACKERS), folder)
    assert set(axolotl.tracker_keys(found)) <= set(load_schema("axolotl-0.19")["properties"])
    properties = load_schema("unsloth")["properties"]
    assert set(unsloth.tracker_keys(found)) <= set(properties)
    assert set(properties["report_to"]["items"]["enum"]) == set(TRACKERS)
    option = next(option for option in command.params if option.name == "track")
    assert set(option.type.choices) == set(TRACKERS)  # type: ignore[attr-defined]


def test_what_the_person_has_set_wins_and_is_not_written_down(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret@mlflow.example")
    monkeypatch.setenv("WANDB_MODE", "online")
    found = tracking(["mlflow", "wandb"], folder)
    assert not {"MLFLOW_TRACKING_URI", "WANDB_MODE"} & set(found.environment)


def test_the_trainers_read_config_and_trackers_together(folder: Path) -> None:
    for name in ("axolotl", "unsloth"):
        overlay = get_trainer(name).launch.overlay(folder, "python", {}, ["tensorboard"])
        assert "effective.yaml" in overlay.command
        read = yaml.safe_load((folder / "effective.yaml").read_text())
        assert read == {"base_model": "here", **overlay.config}
    assert (folder / "config.yaml").read_text() == "base_model: here\n"


def test_a_tracker_that_is_not_installed_is_named_with_the_way_to_get_it() -> None:
    facts = Environment(executable="/venv/bin/python", versions={"wandb": "0.31", "mlflow": None})
    check_trackers(["wandb"], facts)
    with pytest.raises(RunFailed, match="mlflow is not installed in /venv/bin/python") as caught:
        check_trackers(["wandb", "mlflow"], facts)
    assert caught.value.problems[0].hint == "pip install mlflow"


def test_a_trackio_that_transformers_cannot_call_is_refused_before_the_run() -> None:
    check_trackers(["trackio"], Environment(executable="python", versions={"trackio": "0.21.2"}))
    with pytest.raises(RunFailed, match=r"trackio 0\.19\.0 .* older"):
        check_trackers(["trackio"], Environment(executable="python", versions={"trackio": "0.19.0"}))
