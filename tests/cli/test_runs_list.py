"""`ql runs` lists runs with state, score, time, cost and a curve; `ql report` writes a run's page again."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from properties import share

from launcher.cli.main import main

RECORDED = Path(__file__).resolve().parent.parent / "report" / "recorded"


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    shutil.copytree(RECORDED, tmp_path / "runs")
    return tmp_path / "runs"


def ql(*argv: str) -> Result:
    return CliRunner().invoke(main, list(argv))


def test_the_list_has_state_score_curve_time_and_cost(runs: Path) -> None:
    done = ql("runs", "--runs-dir", str(runs))
    assert done.exit_code == 0, done.output
    header, qlora, _ = done.stdout.splitlines()
    assert header.split() == ["run", "state", "score", "loss", "time", "cost", "trained", "as"]
    for said in ("qlora", "finished", "0.71 exact match", "█", " min ", "$0.0", "qlora with axolotl"):
        assert said in qlora


def test_the_list_as_json(runs: Path) -> None:
    facts: list[dict[str, Any]] = json.loads(ql("runs", "--runs-dir", str(runs), "--json").stdout)
    manifest = json.loads((runs / "qlora" / "run.json").read_text())
    first = next(run for run in facts if run["name"] == "qlora")
    assert first["curve"] == manifest["curve"]
    assert first["usd"] == pytest.approx(first["seconds"] / 3600 * 0.5, abs=1e-5)


def test_one_run_in_words_says_its_cost_and_its_repairs(runs: Path) -> None:
    path = runs / "qlora" / "run.json"
    manifest = json.loads(path.read_text())
    manifest["repairs"] = [
        {"time": "2026-01-01T00:00:00+00:00", "stage": "train", "kind": "oom_train", "cause": "out of GPU memory",
         "action": "half the micro-batch", "step": 12, "before": {}, "after": {}}
    ]  # fmt: skip
    path.write_text(json.dumps(manifest))
    said = ql("runs", "qlora", "--runs-dir", str(runs)).stdout
    assert "repair: train, step 12: out of GPU memory: half the micro-batch" in said
    assert "cost: $0.0" in said
    assert "at $0.50 an hour (given)" in said


def test_a_report_is_written_again(runs: Path, tmp_path: Path) -> None:
    done = ql("report", "lora", "--runs-dir", str(runs))
    assert done.exit_code == 0, done.output
    assert Path(done.stdout.strip()) == runs / "lora" / "report.html"
    page = (runs / "lora" / "report.html").read_text()
    assert "Gate missed" in page
    done = ql("report", "lora", "--runs-dir", str(runs), "--out", str(tmp_path / "mine.html"), "--json")
    facts = json.loads(done.stdout)
    assert facts["report"] == str(tmp_path / "mine.html")
    assert len(facts["series"]["logs"]["loss"]) == facts["training"]["steps"]
    assert (tmp_path / "mine.html").read_text() == page


def test_a_report_of_a_run_that_failed_says_why(runs: Path) -> None:
    path = runs / "lora" / "run.json"
    manifest = json.loads(path.read_text())
    manifest["state"] = "failed"
    manifest["stages"][3:] = [{"name": "merge", "state": "failed", "seconds": 1.0, "error": "the disk is full"}]
    del manifest["merge"]
    path.write_text(json.dumps(manifest))
    assert ql("report", "lora", "--runs-dir", str(runs)).exit_code == 0
    page = (runs / "lora" / "report.html").read_text()
    assert "The run failed in merge." in page
    assert "the disk is full" in page


def test_a_report_of_a_run_that_has_just_begun(runs: Path) -> None:
    path = runs / "lora" / "run.json"
    manifest = json.loads(path.read_text())
    kept = {key: manifest[key] for key in ("version", "name", "state", "created", "plan", "trainer_python")}
    stages = [{"name": "prepare", "state": "running", "seconds": None}]
    path.write_text(json.dumps({**kept, "state": "running", "stages": stages}))
    (runs / "lora" / "events.jsonl").unlink()
    shutil.rmtree(runs / "lora" / "golden")
    done = ql("report", "lora", "--runs-dir", str(runs))
    assert done.exit_code == 0, done.output
    assert "The run is not at its end" in (runs / "lora" / "report.html").read_text()


def test_a_place_that_cannot_be_written_is_one_clear_error(runs: Path, tmp_path: Path) -> None:
    done = ql("report", "lora", "--runs-dir", str(runs), "--out", str(tmp_path / "no" / "x.html"))
    assert done.exit_code == 2
    assert "cannot write" in done.stderr


def test_a_damaged_run_is_not_hidden_and_hides_no_other(runs: Path) -> None:
    manifest = json.loads((runs / "lora" / "run.json").read_text())
    (runs / "lora" / "run.json").write_text(json.dumps({**manifest, "version": 2}))
    done = ql("runs", "--runs-dir", str(runs))
    assert done.exit_code == 0
    assert "qlora" in done.stdout
    assert "not a run manifest of version 1\n  a newer ql wrote it" in done.stderr
    shutil.rmtree(runs / "qlora")
    assert "no readable runs" in ql("runs", "--runs-dir", str(runs)).stderr


def leaves(data: Any, depth: int = 0) -> list[tuple[Any, ...]]:
    """The places of a manifest, down to the fourth level; of a list, its first."""
    if depth == 4:
        return []
    inner = data.items() if isinstance(data, dict) else list(enumerate(data))[:1] if isinstance(data, list) else []
    return [place for key, value in inner for place in [(key,), *((key, *rest) for rest in leaves(value, depth + 1))]]


RECORDED_RUN: dict[str, Any] = json.loads((RECORDED / "qlora" / "run.json").read_text())
PARTS = [key for key in RECORDED_RUN if key not in ("inputs", "quantization")]
NOT_READ = {("environment", "versions")}  # shown as it is


@pytest.mark.parametrize("part", PARTS)
def test_a_manifest_with_anything_anywhere_is_shown_or_refused(runs: Path, part: str) -> None:
    """What stands in a manifest by hand or by an accident is never a traceback."""
    path = runs / "qlora" / "run.json"
    shutil.rmtree(runs / "lora")
    (runs / "qlora" / "merged").mkdir()
    for place in share(leaves({part: RECORDED_RUN[part]})):
        if place[:2] in NOT_READ or (place[0] == "plan" and len(place) > 2):
            continue
        for value in (None, "x", [1], ...):
            manifest = json.loads(json.dumps(RECORDED_RUN))
            holder = manifest
            for key in place[:-1]:
                holder = holder[key]
            if value is ...:
                del holder[place[-1]]
            else:
                holder[place[-1]] = value
            path.write_text(json.dumps(manifest))
            for argv in (
                ["runs", "qlora"],
                ["runs"],
                ["report", "qlora"],
                ["push", "qlora", "--repo", "a/b", "--dry-run"],
            ):
                done = ql(*argv, "--runs-dir", str(runs))
                assert done.exception is None or isinstance(done.exception, SystemExit), (place, value, argv)
                assert done.exit_code in (0, 1, 2), (place, value, argv)
