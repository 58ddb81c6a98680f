"""What `ql check` says of rows beside errors all others say too: launch, its dry run, export, run.json, report."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher.cli.main import main
from launcher.data.formats import FORMATS, Format
from launcher.preparing.prepare import prepare
from launcher.preparing.request import make_request
from launcher.runs.launch import notes_of
from launcher.runs.results.reporting import write_report
from manifests import finished_run

USER, ANSWER = {"role": "user", "content": "hi"}, {"role": "assistant", "content": "ho"}
ROWS: dict[Format, dict[str, object]] = {
    "messages": {"messages": [{**USER, "mood": "fine"}, ANSWER], "source": "a"},
    "sharegpt": {"conversations": [{"from": "human", "value": "hi", "mood": "fine"}, {"from": "gpt", "value": "ho"}]},
    "alpaca": {"instruction": "hi", "output": "ho", "mood": "fine"},
    "prompt_completion": {"prompt": "hi", "completion": "ho", "mood": "fine"},
    "text": {"text": "hi ho", "mood": "fine"},
}


def written(path: Path, form: Format) -> Path:
    """Twenty rows that lose a key, one of which stands twice."""
    rows = [json.dumps({**ROWS[form], **({"text": f"hi {n}"} if form == "text" else {})}) for n in range(20)]
    if form != "text":
        rows = [row.replace('"hi"', f'"hi {number}"') for number, row in enumerate(rows)]
    path.write_text("".join(f"{row}\n" for row in [*rows, rows[3]]))
    return path


def said_by(*words: object) -> str:
    done = CliRunner().invoke(main, [str(word) for word in words])
    assert done.exit_code == 0, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("form", FORMATS)
def test_what_is_not_read_and_what_stands_twice(form: Format, tmp_path: Path) -> None:
    data = written(tmp_path / "rows.jsonl", form)
    launch = ("launch", "--dry-run", "--preset", "cpu-tiny", "--data", data)
    prepared = prepare(make_request(preset="cpu-tiny"), data)
    run = finished_run(tmp_path, notes=notes_of(prepared))
    page = write_report(run).read_text(encoding="utf-8")
    for name, said in {
        "check": said_by("check", data),
        "launch": said_by(*launch),
        "launch as JSON": said_by(*launch, "--json"),
        "export": said_by("export", "--preset", "cpu-tiny", "--data", data, "-o", tmp_path / "out"),
        "run.json": (run.path / "run.json").read_text(encoding="utf-8"),
        "report": page,
    }.items():
        assert "mood" in said, name
        assert "the same row as line 4" in said, name


def test_a_kind_of_warning_is_one_line(tmp_path: Path) -> None:
    data = tmp_path / "rows.jsonl"
    data.write_text(
        "".join(json.dumps({"messages": [USER, {**ANSWER, "content": str(n // 2)}]}) + "\n" for n in range(20))
    )
    report = prepare(make_request(preset="cpu-tiny"), data).report
    assert report is not None
    assert report.asides() == [
        f"rows.jsonl:2: the same row as line 1; 10 such (lines {', '.join(map(str, range(2, 21, 2)))})"
    ]
