"""The run directory: found by name, path or `latest`; stages record what happened to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.errors import Unreadable
from launcher.runs.run import Run, create_run, list_runs, open_run
from manifests import new_manifest

PLAN = {"preset": "cpu-tiny", "backend": "axolotl", "method": "qlora", "base_model": "x", "compute_dtype": "float32"}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return create_run(tmp_path, "cpu-tiny", new_manifest(plan=PLAN))


def test_a_folder_called_latest_stays_and_the_newest_run_is_found(tmp_path: Path) -> None:
    (tmp_path / "latest" / "mine").mkdir(parents=True)
    made = create_run(tmp_path, "n", new_manifest(plan=PLAN), exactly=tmp_path / ("n" * 250))
    assert (tmp_path / "latest" / "mine").is_dir()
    assert open_run("latest", tmp_path).path == made.path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "n" * 250]


def test_a_new_run_is_latest_and_all_its_stages_wait(run: Run, tmp_path: Path) -> None:
    found = open_run("latest", tmp_path)
    assert found.path == run.path
    assert {stage.state for stage in found.record.stages} == {"pending"}


def test_two_runs_in_one_second_get_two_directories(run: Run, tmp_path: Path) -> None:
    again = create_run(tmp_path, "cpu-tiny", new_manifest(plan=PLAN))
    assert again.path != run.path
    assert [found.path for found in list_runs(tmp_path)] == [run.path, again.path]
    assert open_run("latest", tmp_path).path == again.path


def test_a_run_is_opened_by_name_and_by_path(run: Run, tmp_path: Path) -> None:
    assert open_run(run.path.name, tmp_path).path == run.path
    assert open_run(run.path).path == run.path


def test_a_stage_records_its_time_and_end(run: Run) -> None:
    with run.running("train"):
        assert json.loads((run.path / "run.json").read_text())["stages"][1]["state"] == "running"
    stage = open_run(run.path).stage("train")
    assert stage.state == "done"
    assert (stage.seconds or 0) >= 0


@pytest.mark.parametrize(("error", "state"), [(ValueError("boom"), "failed"), (KeyboardInterrupt(), "stopped")])
def test_a_stage_that_does_not_end_well_says_so(run: Run, error: BaseException, state: str) -> None:
    with pytest.raises(type(error)), run.running("train"):
        raise error
    found = open_run(run.path)
    assert found.record.state == state
    assert found.stage("train").state == state
    assert found.stage("train").error


def test_an_unknown_run_names_the_known_ones(run: Run, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=run.path.name):
        open_run("no-such-run", tmp_path)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '{"version": 2, "stages": []}', '{"version": 1}', "[" * 100_000]
)
def test_a_broken_manifest_is_one_clear_error(run: Run, text: str) -> None:
    (run.path / "run.json").write_text(text)
    with pytest.raises(Unreadable, match=r"run\.json cannot be read"):
        open_run(run.path)


def test_an_unwritable_place_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Unreadable, match="cannot write runs"):
        create_run(tmp_path / "file" / "runs", "x", new_manifest(plan=PLAN))


def test_a_chosen_folder_must_be_empty(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    assert create_run(tmp_path, "x", new_manifest(plan=PLAN), exactly=tmp_path / "mine").path == tmp_path / "mine"
    with pytest.raises(Unreadable, match="not empty"):
        create_run(tmp_path, "x", new_manifest(plan=PLAN), exactly=tmp_path / "mine")
