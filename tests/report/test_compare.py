"""Runs side by side, on recorded runs of both methods: terminal, JSON, page."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from launcher.cli.main import main
from launcher.records.run import GateResult
from launcher.runs.results.comparison import compare
from launcher.runs.run import Run


@pytest.fixture
def facts(recorded: dict[str, Run]) -> dict[str, Any]:
    return compare([recorded["qlora"], recorded["lora"]])


def test_what_differs_in_the_plan_is_the_method_alone(facts: dict[str, Any]) -> None:
    assert [row["key"] for row in facts["plan"]] == ["method", "quant_type", "double_quant"]
    assert facts["notes"] == []


def test_flipped_prompts_explain_the_difference(facts: dict[str, Any]) -> None:
    pair = facts["golden"][0]
    score = pair["metrics"]["exact_match"]
    assert pair["prompts"] == score["rows"] == 120
    assert len(pair["flipped"]) == score["better"] + score["worse"]
    assert score["better"] - score["worse"] == round(score["difference"] * 120)
    assert score["low"] <= score["difference"] <= score["high"]
    scores = [run["golden"]["merged"]["exact_match"] for run in facts["runs"]]
    assert (score["first"], score["second"]) == (pytest.approx(scores[0], abs=1e-5), pytest.approx(scores[1], abs=1e-5))


def test_the_trade_is_named_in_points_memory_time_and_money(facts: dict[str, Any]) -> None:
    trade = facts["trade"]
    qlora, lora = facts["runs"]
    assert trade["gib"] == pytest.approx(lora["peak_memory_gib"] - qlora["peak_memory_gib"])
    assert trade["seconds"] == pytest.approx(lora["seconds"] - qlora["seconds"])
    assert trade["usd"] == pytest.approx(lora["usd"] - qlora["usd"], abs=1e-6)
    for unit in ("points of exact match", "GiB", " s ", "$"):
        assert unit in trade["words"]
    assert trade["recommend"] in ("qlora", "lora")
    assert trade["run"] == trade["recommend"]  # the recorded runs are named so


def test_runs_of_other_data_are_not_called_fair(recorded: dict[str, Run]) -> None:
    assert recorded["lora"].record.data is not None
    recorded["lora"].record.data.input_sha256 = "other"
    recorded["lora"].record.plan["seed"] = 1
    recorded["lora"].record.state = "stopped"
    notes = compare([recorded["qlora"], recorded["lora"]])["notes"]
    assert notes == [
        "the runs do not have the same training data",
        "the runs have different seeds: some of the difference is chance",
        "lora is not finished: stopped",
    ]


def test_only_prompts_that_both_were_asked_are_paired(recorded: dict[str, Run]) -> None:
    path = recorded["lora"].path / "golden" / "scores" / "merged.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    rows[0]["input"] = "another question"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[:100]))
    pair = compare([recorded["qlora"], recorded["lora"]])["golden"][0]
    assert (pair["prompts"], pair["left_out"]) == (99, 21)


def test_three_runs_are_held_against_the_first(recorded: dict[str, Run], tmp_path: Path) -> None:
    import shutil

    from launcher.runs.run import open_run

    shutil.copytree(recorded["lora"].path, tmp_path / "third")
    found = compare([recorded["qlora"], recorded["lora"], open_run(tmp_path / "third")], tmp_path / "three.html")
    assert [pair["second"] for pair in found["golden"]] == ["lora", "third"]
    assert found["trade"] is None
    assert "3 runs side by side" in (tmp_path / "three.html").read_text()


def test_the_command_on_the_terminal_and_as_json(recorded: dict[str, Run], tmp_path: Path) -> None:
    argv = ["compare", "qlora", "lora", "--runs-dir", str(tmp_path / "runs")]
    done = CliRunner().invoke(main, argv)
    assert done.exit_code == 0, done.output
    for said in ("what differs", "quant_type", "95 % interval", "LoRA against QLoRA: "):
        assert said in done.stdout
    assert re.search(r"^take the (LoRA|QLoRA) run: \w", done.stdout, re.MULTILINE)
    as_json = json.loads(CliRunner().invoke(main, [*argv, "--json"]).stdout)
    assert as_json["golden"][0]["metrics"]["exact_match"]["rows"] == 120


def test_the_page_says_whether_gates_were_missed(recorded: dict[str, Run], tmp_path: Path) -> None:
    for run, passed in (("qlora", True), ("lora", False)):
        recorded[run].record.gates = [GateResult(gate="exact_match>=0.9", passed=passed, reason="")]
    compare([recorded["qlora"], recorded["lora"]], tmp_path / "page.html")
    assert "1 of 1 missed" in (tmp_path / "page.html").read_text()


def test_one_run_is_no_comparison(recorded: dict[str, Run], tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["compare", "lora", "lora", "--runs-dir", str(tmp_path / "runs")])
    assert done.exit_code == 2
    assert "takes two runs or more: " in done.stderr
    assert "alone was given, 2 times" in done.stderr


def test_a_page_that_cannot_be_written_is_one_clear_error(recorded: dict[str, Run], tmp_path: Path) -> None:
    argv = ["compare", "qlora", "lora", "--runs-dir", str(tmp_path / "runs"), "--html", str(tmp_path / "no" / "x.html")]
    done = CliRunner().invoke(main, argv)
    assert done.exit_code == 2
    assert "cannot write" in done.stderr


def test_a_page_of_two_that_answer_alike(tab: Any, recorded: dict[str, Run], tmp_path: Path) -> None:
    """Nothing flipped: the page says so, and offers no filter of nothing. A phone holds it."""
    import shutil

    from launcher.runs.run import open_run

    twin = shutil.copytree(recorded["qlora"].path, tmp_path / "cpu-tiny-20261124-120000")
    compare([recorded["qlora"], open_run(twin)], tmp_path / "alike.html")
    page = tab.open(tmp_path / "alike.html")
    assert "None: each prompt that one answers right" in page.inner_text("main")
    assert page.locator("#prompt-filter, .flips").count() == 0
    page.set_viewport_size({"width": 390, "height": 800})
    figures = page.locator(".wide").first
    assert figures.evaluate("node => node.scrollWidth <= node.clientWidth")
    assert tab.complaints == []


def test_the_page_in_a_browser(tab: Any, recorded: dict[str, Run], tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    path = tmp_path / "comparison.html"
    found = compare([recorded["qlora"], recorded["lora"]], path)
    page = tab.open(path)
    page.click("#theme")
    page.check("input[value=time]")
    curves = page.evaluate("window.qlCharts.then(board => board.charts[0].plot.series.length - 1)")
    assert curves == 2  # both runs on one chart
    pair = found["golden"][0]
    assert page.locator(".prompt").count() == len(pair["flipped"])
    page.select_option("#prompt-filter select", "worse")
    assert page.locator(".prompt:not([hidden])").count() == pair["metrics"]["exact_match"]["worse"]
    page.select_option("#prompt-filter select", "all")
    options = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]}
    checked = axe.Axe().run(page, options=options)
    assert checked.response["violations"] == [], checked.generate_report()
    assert tab.complaints == []
    assert tab.requests == [path.resolve().as_uri()]
