"""What `ql check` says of rows beside errors all others say too: launch, its dry run, export, run.json, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from unread import ANSWER, USER, places

from launcher.cli.main import main
from launcher.data.formats import FORMATS, Format
from launcher.preparing.prepare import prepare
from launcher.preparing.request import make_request
from launcher.runs.launch import notes_of, warnings_of
from launcher.runs.results.reporting import write_report
from manifests import finished_run

ALL = [(form, name) for form in FORMATS for name in places(form, "mood", "fine")]


def written(path: Path, form: Format, name: str = "mood") -> Path:
    """Twenty rows that lose a key in one place, one of which stands twice."""
    row = places(form, "mood", "fine")[name]
    rows = [json.dumps(row).replace('"hi', f'"hi {number}') for number in range(20)]
    path.write_text("".join(f"{row}\n" for row in [*rows, rows[3]]))
    return path


def said_by(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize(("form", "name"), ALL)
def test_what_is_not_read_and_what_stands_twice(form: Format, name: str, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", form, name)
    launch = ("launch", "--dry-run", "--preset", "cpu-tiny", "--data", data)
    prepared = prepare(make_request(preset="cpu-tiny"), data)
    run = finished_run(tmp_path, notes=notes_of(prepared), warnings=warnings_of(prepared))
    page = write_report(run).read_text(encoding="utf-8")
    for place, said in {
        "check": said_by("check", data),
        "launch": said_by(*launch),
        "launch as JSON": said_by(*launch, "--json"),
        "export": said_by("export", "--preset", "cpu-tiny", "--data", data, "-o", tmp_path / "out"),
        "export as JSON": said_by("export", "--preset", "cpu-tiny", "--data", data, "-o", tmp_path / "o2", "--json"),
        "estimate": said_by("estimate", "--preset", "cpu-tiny", "--data", data),
        "init": said_by("init", "--preset", "cpu-tiny", "--data", data, "--yes", "--out", tmp_path / "job.yaml"),
        "run.json": (run.path / "run.json").read_text(encoding="utf-8"),
        "report": page.replace("&#39;", "'"),
    }.items():
        assert f"{name} is given in 21 of 21 rows" in said, place
        assert "the same row as line 4" in said, place


def test_a_warning_is_not_a_note(tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", "messages")
    found = json.loads(said_by("launch", "--dry-run", "--preset", "cpu-tiny", "--data", data, "--json"))
    assert found["warnings"] == ["rows.jsonl:21: the same row as line 4"]
    assert "mood is given in 21 of 21 rows (100 %) and not read" in found["notes"]
    run = finished_run(tmp_path, notes=["a note"], warnings=["a warning"])
    shown = said_by("runs", run.path)
    assert "warning: a warning" in shown
    assert "note: a note" in shown
    assert 'class="warn">a warning<' in write_report(run).read_text(encoding="utf-8")


def test_a_kind_of_warning_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(
        "".join(json.dumps({"messages": [USER, {**ANSWER, "content": str(n // 2)}]}) + "\n" for n in range(20))
    )
    report = prepare(make_request(preset="cpu-tiny"), data).report
    assert report is not None
    assert [*report.warnings(), *report.notes] == [
        f"rows.jsonl:2: the same row as line 1; 10 such (lines {', '.join(map(str, range(2, 21, 2)))})"
    ]
