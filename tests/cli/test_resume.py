"""``ql resume``: each way in which it does not get to a trainer, and a run that needs none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.runs import resume as resuming
from launcher.runs.inputs import fingerprint
from launcher.runs.lock import locked
from launcher.runs.run import Run, create_run, new_manifest

PLAN = {
    "preset": "cpu-tiny", "backend": "axolotl", "method": "qlora", "base_model": "x", "compute_dtype": "float32",
    "on_cpu": True,
}  # fmt: skip


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("{}\n")
    data = {"path": str(tmp_path / "rows.jsonl"), "sha256": "0"}
    made = create_run(tmp_path / "runs", "x", new_manifest(plan=PLAN, notes=[], gates=[], golden=None, data=data))
    made.data["inputs"] = fingerprint(made)
    made.save()
    return made


def ql(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def finish(run: Run) -> None:
    for stage in run.data["stages"]:
        stage["state"] = "done"
    run.data["state"] = "finished"
    run.save()


def test_a_finished_run_is_left_as_it_is(run: Run) -> None:
    finish(run)
    before = (run.path / "run.json").read_bytes()
    for name in ("latest", run.path.name, str(run.path)):
        result = ql("resume", name)
        assert result.exit_code == 0, result.output
        assert "finished" in result.output
    assert (run.path / "run.json").read_bytes() == before


def test_a_missed_gate_is_still_a_missed_gate(run: Run) -> None:
    run.data["gates"] = [{"gate": "exact_match>=1", "passed": False, "reason": "0.5"}]
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
    run.stage("prepare")["state"] = run.stage("train")["state"] = "done"
    run.data["state"] = "failed"
    run.save()
    monkeypatch.setattr(resuming, "execute", lambda run, observer: heard.append(run.data["resumes"]))
    ql("resume", "latest")
    assert [(entry["stage"], entry["from_step"]) for entry in heard[0]] == [("evaluate", None)]
