"""``ql start``: the same line again and again, whatever there is in the folder."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.cli import launch as launch_verb
from launcher.cli.main import main
from launcher.errors import Unreadable
from launcher.places import Submission, Wants, get_place, submit
from launcher.records.run import GateResult
from launcher.runs import resume as resuming
from launcher.runs.lock import locked
from launcher.runs.run import Run, create_run, open_run
from launcher.runs.start import MOST_STARTS
from manifests import ON_CPU, finish, new_manifest, waiting_run


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(resuming, "_check_place", lambda run, observer: None)
    return waiting_run(tmp_path)


def ql(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def interrupted(run: Run, observer: Any) -> None:
    """As a scheduler ends it: in training, before a step is done."""
    run.stage("prepare").state, run.stage("train").state, run.stage("train").error = "done", "stopped", "143"
    run.record.state = "stopped"
    run.save()
    raise SystemExit(143)


def test_one_that_is_done_is_left_as_it_is(run: Run) -> None:
    finish(run)
    before = (run.path / "run.json").read_bytes()
    result = ql("start", str(run.path))
    assert result.exit_code == 0, result.output
    assert (run.path / "run.json").read_bytes() == before
    run.record.gates = [GateResult(gate="exact_match>=1", passed=False, reason="0.5")]
    run.save()
    assert ql("start", run.path.name).exit_code == 1


def test_one_that_was_stopped_goes_on(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "execute", interrupted)
    assert ql("start", "latest").exit_code == 143
    monkeypatch.setattr(resuming, "execute", lambda run, observer: finish(run))
    assert ql("start", "latest").exit_code == 0
    assert [(each.stage, each.from_step) for each in open_run(run.path).record.resumes] == [("train", 0)]


def test_one_that_somebody_works_on_is_refused(run: Run) -> None:
    with locked(run.path):
        result = ql("start", "latest")
    assert result.exit_code == 3
    assert "is being worked on by process" in result.output


def test_five_starts_that_come_nowhere_end_it(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "execute", interrupted)
    codes = [ql("start", "latest").exit_code for _ in range(1 + MOST_STARTS)]  # the first is no resume
    assert codes == [143] * (1 + MOST_STARTS)
    for _ in range(2):
        result = ql("start", "latest")
        assert result.exit_code == 3
        assert "train: resumed 5 times in a row without progress past step 0; the last error was: 143" in result.output
        assert f"ql resume {run.path}" in result.output
    found = open_run(run.path)
    assert found.record.state == "failed"
    assert found.record.notes == ["train: resumed 5 times in a row without progress past step 0"]
    assert len(found.record.resumes) == MOST_STARTS
    assert ql("resume", "latest").exit_code == 143  # a person may
    assert ql("start", "latest", "--again").exit_code == 143


@pytest.mark.parametrize("reached", [("train", 3, None), ("evaluate", None, 7)])
def test_a_step_or_an_answer_more_is_getting_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, reached: tuple[str, int | None, int | None]
) -> None:
    monkeypatch.setattr(resuming, "execute", interrupted)
    for _ in range(1 + MOST_STARTS):
        ql("start", "latest")
    found = open_run(run.path)
    stage, step, answers = reached
    last = found.record.resumes[-1]
    last.stage, last.from_step, last.answers = stage, step, answers
    found.save()
    assert ql("start", "latest").exit_code == 143


def test_golden_answers_count_as_getting_on(run: Run) -> None:
    outputs = run.path / "golden" / "outputs"
    outputs.mkdir(parents=True)
    (outputs / "base.jsonl").write_text("{}\n{}\n")
    (outputs / "adapter.jsonl").write_text("{}\n{")
    assert resuming.reached(run, "evaluate") == (None, 3)
    assert resuming.reached(run, "merge") == (None, None)


def test_a_job_without_a_run_is_launched_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "job.yaml").write_text("preset: cpu-tiny\ndata: rows.jsonl\n")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    (folder / "rows.jsonl").write_text("".join(json.dumps({"messages": turns}) + "\n" for _ in range(40)))
    heard: list[Any] = []
    monkeypatch.setattr(launch_verb, "_run", lambda prepared, options, place, as_json: heard.append((options, place)))
    result = ql("start", str(folder), "--trainer-python", "/usr/bin/python3")
    assert result.exit_code == 0, result.output
    [(options, place)] = heard
    assert options.out == folder
    assert options.trainer_python == "/usr/bin/python3"
    assert place == "here"
    assert not (folder / "starts").exists()


def launched(folder: Path, monkeypatch: pytest.MonkeyPatch, end: BaseException) -> Result:
    """`ql start` of a job whose launch ends so before it has made a run."""

    def launch(*_: Any) -> None:
        raise end

    folder.mkdir(exist_ok=True)
    (folder / "job.yaml").write_text("preset: cpu-tiny\ndata: rows.jsonl\n")
    monkeypatch.setattr(launch_verb.command, "main", lambda *_, **__: launch())
    return ql("start", str(folder))


def test_five_launches_that_are_killed_end_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "job"
    codes = [launched(folder, monkeypatch, SystemExit(143)).exit_code for _ in range(MOST_STARTS)]
    assert codes == [143] * MOST_STARTS
    result = launched(folder, monkeypatch, SystemExit(143))
    assert result.exit_code == 3
    assert "was launched 5 times without a run being created" in result.output
    (folder / "starts").write_bytes(b"\xff\xfe\n")  # what somebody else wrote is counted, not read
    assert launched(folder, monkeypatch, SystemExit(143)).exit_code == 143


def test_a_launch_that_said_what_is_wrong_is_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person mends it and tries again, as often as it takes."""
    for _ in range(2 * MOST_STARTS):
        result = launched(tmp_path / "job", monkeypatch, Unreadable("no such data file"))
        assert result.exit_code == 2
        assert "no such data file" in result.output
    assert not (tmp_path / "job" / "starts").exists()


def test_a_run_never_writes_over_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").touch()
    (tmp_path / "rows.jsonl").touch()
    made = create_run(tmp_path, "x", new_manifest(plan=ON_CPU), exactly=tmp_path)
    assert made.path == tmp_path
    (tmp_path / "run.json").unlink()
    (tmp_path / "data").mkdir()
    result = ql("start", str(tmp_path / "nowhere"))
    assert result.exit_code == 2
    with pytest.raises(Exception, match="holds data, which the run would write"):
        create_run(tmp_path, "x", new_manifest(plan=ON_CPU), exactly=tmp_path)


def test_a_folder_without_run_or_job_is_said(tmp_path: Path) -> None:
    result = ql("start", str(tmp_path))
    assert result.exit_code == 2
    assert "has neither a run nor a job.yaml" in result.output


def test_a_place_is_checked_before_anything(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    result = ql("launch", "--preset", "cpu-tiny", "--data", str(tmp_path / "rows.jsonl"), "--on", "moon")
    assert result.exit_code == 2
    assert "no place 'moon'" in result.output
    result = ql("launch", "--preset", "cpu-tiny", "--data", "x", "--on", "here", "--detach")
    assert result.exit_code == 2
    assert "not with --on here" in result.output


def test_a_run_says_where_it_is(run: Run) -> None:
    assert "place:" not in ql("runs", "latest").output
    submit(get_place("here"), Submission(run.path, Wants("cpu"), here=lambda: None))
    said = f"place: here, ended (process {os.getpid()}), since 20"
    assert said in ql("runs", "latest").output
    facts = json.loads(ql("runs", "latest", "--json").stdout)["place"]
    assert (facts["place"], facts["state"]) == ("here", "ended")
    with locked(run.path):
        assert json.loads(ql("runs", "latest", "--json").stdout)["place"]["state"] == "running"


@pytest.mark.parametrize("text", ["{", '{"place": "moon", "handle": "1", "submitted": "x"}', '{"place": "here"}'])
def test_a_place_that_is_not_known_does_not_hide_the_run(run: Run, text: str) -> None:
    (run.path / "place.json").write_text(text)
    result = ql("runs", "latest")
    assert result.exit_code == 0
    assert run.path.name in result.stdout
    assert "warning: " in result.stderr
