"""A run told again from its files: once each, in order, until nobody works on it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.records.codec import encode
from launcher.records.run import Repair
from launcher.runs.events import append_event, mend_events, read_events
from launcher.runs.follow import PROGRESS, Recording, follow
from launcher.runs.lock import locked
from launcher.runs.results.summary import summarise
from launcher.runs.run import Run, create_run, open_run
from manifests import new_manifest


class Listener:
    def __init__(self) -> None:
        self.heard: list[Any] = []

    def stage(self, name: str, state: str, note: str = "") -> None:
        self.heard.append((name, state, note) if note else (name, state))

    def telemetry(self, event: dict[str, Any]) -> None:
        self.heard.append(event["event"])

    def progress(self, stage: str, message: dict[str, Any]) -> None:
        self.heard.append((stage, message["done"]))

    def note(self, text: str) -> None:
        self.heard.append(text)

    def repair(self, record: Repair) -> None:
        self.heard.append(("repair", record.kind))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    plan = {"preset": "x", "backend": "axolotl", "method": "qlora", "base_model": "x", "compute_dtype": "float32"}
    return create_run(tmp_path, "x", new_manifest(plan=plan, notes=["first"]))


def repair(run: Run, kind: str = "oom_train") -> dict[str, Any]:
    return run.record_repair(
        stage="train", kind=kind, cause="out of memory", action="halve", step=3, before={"micro": 2}, after={"micro": 1}
    )


def test_all_of_a_run_is_told_once_and_in_order(run: Run) -> None:
    script = iter(range(10))

    def pause(_seconds: float) -> None:
        match next(script):
            case 0:
                append_event(run.path, "train_begin")
            case 1:
                repair(run)
                run.record.notes.append("second")
                run.save()
            case 2:
                run.stage("train").state = "done"
                run.stage("evaluate").state = "running"
                run.save()
                Recording(run.path, listener).progress("evaluate", {"done": 4})
                listener.heard.pop()  # what the recorder showed itself
            case 3:
                run.stage("evaluate").state = "done"
                run.skip("merge", "asked for")
                run.record.state = "finished"
                run.save()
                holding.__exit__(None, None, None)

    listener = Listener()
    run.stage("prepare").state = "done"
    run.stage("train").state = "running"
    run.save()
    holding = locked(run.path)
    holding.__enter__()
    assert follow(run.path, listener, pause=pause) == "finished"
    assert listener.heard == [
        ("prepare", "running"), ("prepare", "done"), ("train", "running"), "first", "train_begin",
        ("repair", "oom_train"), "second", ("train", "done"), ("evaluate", "running"), ("evaluate", 4),
        ("evaluate", "done"),
        ("merge", "skipped", "asked for"),
    ]  # fmt: skip


def test_a_run_whose_process_died_is_interrupted(run: Run) -> None:
    assert follow(run.path, Listener()) == "interrupted"
    assert summarise(open_run(run.path)).state == "interrupted"
    with locked(run.path):
        assert summarise(open_run(run.path)).state == "running"


def test_a_repair_is_in_the_manifest_and_in_the_events(run: Run) -> None:
    repair(run)
    run.record_resume("train", 20)
    again = open_run(run.path)
    assert encode(again.record.repairs[0]) | {"time": ""} == {
        "time": "", "stage": "train", "kind": "oom_train", "cause": "out of memory", "action": "halve", "step": 3,
        "before": {"micro": 2}, "after": {"micro": 1},
    }  # fmt: skip
    assert again.record.resumes[0].from_step == 20
    assert [event["event"] for event in read_events(run.path)] == ["repair", "resume"]
    assert summarise(again).repairs == again.record.repairs


def test_a_line_cut_by_a_crash_does_not_swallow_the_next(run: Run) -> None:
    (run.path / "events.jsonl").write_text('{"event": "log"}\n{"event": "l')
    append_event(run.path, "repair")
    mend_events(run.path)
    assert [event["event"] for event in read_events(run.path)] == ["log", "repair"]


def test_a_terminal_that_is_gone_does_not_end_a_run(run: Run) -> None:
    class Closed(Listener):
        def note(self, text: str) -> None:
            raise OSError(5, "Input/output error")

    shown = Closed()
    recording = Recording(run.path, shown)
    recording.note("x")
    recording.stage("train", "running")
    recording.progress("evaluate", {"done": 1})
    assert shown.heard == []
    assert json.loads((run.path / PROGRESS).read_text())["stage"] == "evaluate"
