"""A plan from byte estimates is corrected once by the base's tokenizer, before training, and the run says so."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import load_gpu
from launcher.errors import RunFailed
from launcher.preparing.asked import Asked
from launcher.preparing.prepare import prepare_asked
from launcher.preparing.prepared import Prepared
from launcher.preparing.request import make_request
from launcher.records.environment import Environment
from launcher.runs import execute as executing
from launcher.runs import preflight
from launcher.runs.launch import LaunchOptions, _create
from launcher.runs.observer import Silent
from launcher.runs.run import Run, open_run

TINY = Path(__file__).resolve().parents[2] / "presets" / "models" / "cpu-tiny"
PRESET = "a10g-7b"


class Heard(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the hub's cache has the base once it is downloaded: files of a small one stand for it."""
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    name = make_request(preset=PRESET).base_model.replace("/", "--")
    folder = tmp_path / "hub" / f"models--{name}" / "snapshots" / "1"

    def fetch(python: str, base_model: str, log: Path) -> str:
        shutil.copytree(TINY, folder, dirs_exist_ok=True)
        return str(folder)

    monkeypatch.setattr(preflight, "fetch_base", fetch)
    return folder


@pytest.fixture
def begin(snapshot: Path, tmp_path: Path) -> Callable[..., tuple[Run, Prepared, Asked]]:
    def make(text: str, **settings: Any) -> tuple[Run, Prepared, Asked]:
        data = tmp_path / "rows.jsonl"
        rows = [{"prompt": f"{text} {number}", "completion": "yes"} for number in range(40)]
        data.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
        asked = Asked(data=str(data), preset=PRESET, settings=settings)
        prepared = prepare_asked(asked, lambda: load_gpu("a10g"))
        options = LaunchOptions(runs_dir=tmp_path / "runs", asked=asked)
        return _create(prepared, options, Environment(), None, []), prepared, asked

    return make


def test_the_plan_follows_the_tokenizer(begin: Callable[..., Any], tmp_path: Path) -> None:
    run, prepared, _ = begin("7 3 9 1 " * 60)
    assert prepared.is_estimated
    assert open_run(run.path).record.lengths_estimated
    heard = Heard()
    executing._prepare(run, heard, prepared=prepared)
    record = open_run(run.path).record
    assert record.recount is not None
    assert record.recount.source.endswith("tokenizer.json")
    assert record.recount.before["sequence_len"] == prepared.plan.sequence_len
    assert record.recount.after["sequence_len"] == record.plan["sequence_len"] >= record.recount.longest
    assert record.plan["sequence_len"] != prepared.plan.sequence_len
    [note] = heard.notes
    assert note == record.notes[-1]
    assert f"sequence_len {prepared.plan.sequence_len} becomes {record.plan['sequence_len']}" in note
    assert f"sequence_len: {record.plan['sequence_len']}" in (run.path / "config.yaml").read_text()
    assert not record.lengths_estimated
    assert run.record.data is not None
    assert run.record.data.lengths is not None
    assert run.record.data.lengths.exact


def test_a_length_of_ones_own_stays(begin: Callable[..., Any]) -> None:
    run, prepared, _ = begin("hello", sequence_len=256)
    heard = Heard()
    executing._prepare(run, heard, prepared=prepared)
    assert run.plan["sequence_len"] == 256
    assert run.record.recount is not None
    assert "sequence_len" not in run.record.recount.after
    assert len(heard.notes) == 1


def test_it_is_done_once(begin: Callable[..., Any]) -> None:
    run, prepared, _ = begin("hello")
    executing._prepare(run, Silent(), prepared=prepared)
    plan, recount = run.record.plan, run.record.recount
    heard = Heard()
    executing._prepare(run, heard, prepared=None)  # stopped after the correction, and taken up again
    assert (run.record.plan, run.record.recount, heard.notes) == (plan, recount, [])


def test_a_run_that_was_stopped_before_it_is_corrected_too(begin: Callable[..., Any], snapshot: Path) -> None:
    run, prepared, _ = begin("7 3 9 1 " * 60)
    shutil.copytree(TINY, snapshot, dirs_exist_ok=True)  # stopped once the base was there
    heard = Heard()
    executing._prepare(run, heard, prepared=None)
    assert run.record.recount is not None
    assert run.plan["sequence_len"] != prepared.plan.sequence_len
    assert len(heard.notes) == 1


def test_rows_that_were_counted_from_the_start_are_not_counted_again(begin: Callable[..., Any], snapshot: Path) -> None:
    shutil.copytree(TINY, snapshot, dirs_exist_ok=True)
    run, prepared, _ = begin("hello")
    assert not prepared.is_estimated
    executing._prepare(run, Silent(), prepared=prepared)
    assert run.record.recount is None


def test_another_plan_for_another_reason_is_still_refused(begin: Callable[..., Any], snapshot: Path) -> None:
    shutil.copytree(TINY, snapshot, dirs_exist_ok=True)
    run, _, _ = begin("hello")
    run.record.plan["seed"] = 7
    with pytest.raises(RunFailed, match="the plan would be another one now: seed"):
        executing._prepare(run, Silent(), prepared=None)
