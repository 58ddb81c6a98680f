"""``ql resume``: each way in which it does not get to a trainer, and a run that needs none."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.records.run import GateResult
from launcher.runs import preflight
from launcher.runs import resume as resuming
from launcher.runs.inputs import fingerprint
from launcher.runs.lock import locked
from launcher.runs.run import Run, open_run
from manifests import ON_CPU, finish, waiting_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return waiting_run(tmp_path)


def ql(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def test_a_finished_run_is_left_as_it_is(run: Run) -> None:
    finish(run)
    before = (run.path / "run.json").read_bytes()
    for name in ("latest", run.path.name, str(run.path)):
        result = ql("resume", name)
        assert result.exit_code == 0, result.output
        assert "finished" in result.output
    assert (run.path / "run.json").read_bytes() == before


def test_a_missed_gate_is_still_a_missed_gate(run: Run) -> None:
    run.record.gates = [GateResult(gate="exact_match>=1", passed=False, reason="0.5")]
    finish(run)
    assert ql("resume", "latest").exit_code == 1


def test_an_unknown_run(run: Run) -> None:
    result = ql("resume", "nowhere")
    assert result.exit_code == 2
    assert run.path.name in result.output


def test_changed_data_is_refused_and_accepted(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "rows.jsonl").write_text('{"more": 1}\n')
    result = ql("resume", "latest")
    assert result.exit_code == 1
    assert "rows.jsonl" in result.output
    assert "--accept-changes" in result.output
    monkeypatch.setattr(resuming, "_check_place", lambda run, observer: None)
    monkeypatch.setattr(resuming, "execute", lambda run, observer: finish(run))
    result = ql("resume", "latest", "--accept-changes")
    assert result.exit_code == 0, result.output
    assert "resumed with a changed input" in result.output


def test_a_run_that_somebody_works_on(run: Run) -> None:
    with locked(run.path):
        result = ql("resume", "latest")
    assert result.exit_code == 3
    assert "is being worked on by process" in result.output


def test_one_that_was_stopped_while_it_was_prepared_by_an_older_ql(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "_check_place", lambda run, observer: None)
    result = ql("resume", "latest")
    assert result.exit_code == 3
    assert "start it again with `ql launch`" in result.output


def test_where_it_goes_on_is_recorded(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[Any] = []
    run.stage("prepare").state = run.stage("train").state = "done"
    run.record.state = "failed"
    run.save()
    (run.path / "adapter").mkdir()
    monkeypatch.setattr(resuming, "execute", lambda run, observer: heard.append(run.record.resumes))
    ql("resume", "latest")
    assert [(entry.stage, entry.from_step) for entry in heard[0]] == [("evaluate", None)]


def test_a_folder_that_cannot_be_written_is_one_clear_error(run: Run) -> None:
    (run.path / "lock").mkdir()  # as a folder of another user, or a file system that is mounted to be read
    result = ql("resume", "latest")
    assert result.exit_code == 3
    assert f"error: {run.path / 'lock'}: Is a directory" in result.output
    assert "Traceback" not in result.output


def test_detached_a_finished_run_is_left_as_it_is_too(run: Run) -> None:
    finish(run)
    result = ql("resume", "latest", "--detach")
    assert result.exit_code == 0, result.output
    assert "finished" in result.output
    assert not (run.path / "launch.log").exists()


def test_detached_a_run_that_somebody_works_on_is_refused_too(run: Run) -> None:
    with locked(run.path):
        result = ql("resume", "latest", "--detach")
    assert result.exit_code == 3
    assert "is being worked on by process" in result.output


def test_detached_it_exits_as_the_resume_that_could_not_begin(run: Run, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"more": 1}\n')
    result = ql("resume", "latest", "--detach")
    assert result.exit_code == 1
    assert "--accept-changes" in result.output


def test_a_base_that_is_gone_is_said(run: Run, tmp_path: Path) -> None:
    run.record.amend({"base_folder": str(tmp_path / "base"), "plan": ON_CPU | {"base_model": str(tmp_path / "base")}})
    run.save()
    result = ql("resume", "latest")
    assert result.exit_code == 3
    assert f"the base model is no longer in {tmp_path / 'base'}" in result.output


def test_a_base_of_the_hub_is_found_where_it_is_now(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another machine, or another HF_HOME: the same files under another name."""
    for name in ("then", "now"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.json").write_text("{}")
    run.record.amend({"base_folder": str(tmp_path / "then"), "plan": ON_CPU | {"base_model": "someone/base"}})
    run.record.inputs = fingerprint(run)
    run.save()
    shutil.rmtree(tmp_path / "then")
    asked: list[str] = []
    now = str(tmp_path / "now")
    monkeypatch.setattr(preflight, "fetch_base", lambda python, name, log: asked.append(name) or now)
    monkeypatch.setattr(resuming, "_check_place", lambda run, observer: None)
    monkeypatch.setattr(resuming, "execute", lambda run, observer: finish(run))
    result = ql("resume", "latest", "--trainer-python", "python")
    assert result.exit_code == 0, result.output
    assert asked == ["someone/base"]
    assert open_run(run.path).record.base_folder == now
    (tmp_path / "now" / "config.json").write_text("[]")
    run.record.base_folder = str(tmp_path / "then")
    run.record.state = "stopped"
    run.save()
    assert (
        "config.json: " in ql("resume", "latest", "--trainer-python", "python").output
    )  # other files are another base


GONE: dict[str, tuple[str, list[str], str]] = {
    # what is gone -> what is done again when the next stage is this
    "adapter": ("evaluate", ["train", "evaluate", "merge", "verify", "report"], "adapter/ is gone"),
    "merged": ("verify", ["merge", "verify", "report"], "merged/ is gone"),
    "trainer": ("merge", ["train", "evaluate", "merge", "verify", "report"], "the training is taken up"),
    "nothing": ("merge", ["merge", "verify", "report"], ""),
}


@pytest.mark.parametrize("name", GONE)
def test_what_is_gone_of_a_run_is_made_again(run: Run, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    first, again, said = GONE[name]
    names = [stage.name for stage in run.record.stages]
    for stage in run.record.stages[: names.index(first)]:
        stage.state = "done"
    run.record.amend({"state": "failed", "training": {"steps": 3}})
    run.save()
    for folder in {"adapter", "merged", "trainer"} - {name}:
        (run.path / folder).mkdir()
        (run.path / folder / "adapter_model.safetensors").write_bytes(b"x")
    monkeypatch.setattr(resuming, "_check_place", lambda run, observer: None)
    monkeypatch.setattr(resuming, "execute", lambda run, observer: run.save())
    result = ql("resume", "latest")
    found = open_run(run.path)
    assert [stage.name for stage in found.record.stages if stage.state == "pending"] == again
    assert said in result.output
    assert (found.record.training is None) == (name == "trainer")
    assert (run.path / "merged").exists() == (name not in ("merged", "trainer"))
