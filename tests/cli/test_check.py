from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from launcher.cli.main import main
from launcher.cli.show_rows import CLOSE, OPEN

FORMATS = ["alpaca", "prompt_completion", "sharegpt", "text"]


def check(*args: object) -> Result:
    return CliRunner().invoke(main, ["check", *map(str, args)])


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.jsonl"
    good = {"prompt": "How many?", "completion": "42"}
    path.write_text("\n".join([json.dumps(good), "{", json.dumps({"prompt": "x"}), json.dumps(good)]))
    return path


def test_good_file(tickets: Path) -> None:
    result = check(tickets)
    assert result.exit_code == 0, result.output
    assert "messages, 1020 usable rows of 1020, 0 errors, 0 warnings" in result.output
    assert "estimated at 3.17 bytes a token" in result.output


@pytest.mark.parametrize("name", FORMATS)
def test_example_of_every_format(name: str, root: Path) -> None:
    result = check(root / "examples" / "formats" / f"{name}.jsonl")
    assert result.exit_code == 0, result.output
    assert f"{name}, 12 usable rows" in result.output


def test_bad_rows_exit_1_with_their_lines(bad: Path) -> None:
    result = check(bad)
    assert result.exit_code == 1
    assert f"error: {bad}:2: not JSON" in result.output
    assert f"error: {bad}:3: no known format" in result.output
    assert f"warning: {bad}:4: the same row as line 1" in result.output
    assert "2 usable rows of 4, 2 errors, 1 warning" in result.output


def test_many_problems_are_listed_by_line(tmp_path: Path) -> None:
    path = tmp_path / "bad.jsonl"
    path.write_text('{"text": "a"}\n' + "x\n" * 100)
    result = check(path)
    assert result.output.count("error: ") == 20
    assert "unreadable: 100 (lines 2-101)" in result.output
    assert check(path, "--all").output.count("error: ") == 100


def test_json(bad: Path) -> None:
    result = check(bad, "--json")
    assert result.exit_code == 1
    facts = json.loads(result.stdout)
    assert facts["errors"] == 2
    assert [finding["line"] for finding in facts["findings"]] == [2, 3, 4]


def test_exact_lengths_with_a_model_at_hand(tickets: Path) -> None:
    result = check(tickets, "--model", "cpu-tiny", "--seq-len", 64, "--json")
    assert result.exit_code == 0, result.output
    facts = json.loads(result.stdout)
    assert facts["lengths"]["exact"]
    assert facts["lengths"]["source"].endswith("tokenizer.json")
    assert facts["excess"]["sequence_len"] == 64


@pytest.mark.parametrize("model", [[], ["--model", "cpu-tiny"]])
def test_show_marks_what_is_trained(model: list[str], tickets: Path) -> None:
    result = check(tickets, "--show", 2, *model)
    assert result.exit_code == 0, result.output
    assert result.output.count(OPEN) == result.output.count(CLOSE) == 2
    assert f"<|im_start|>assistant\n{OPEN}" in result.output
    assert f"<|im_end|>{CLOSE}" in result.output
    assert "line 2: " in result.output


def test_show_uses_colour_on_a_terminal(
    tickets: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["check", str(tickets), "--show", "1"], standalone_mode=False)
    shown = capsys.readouterr().out
    assert "\x1b[" in shown
    assert OPEN not in shown


def test_show_on_a_terminal_that_knows_little(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"prompt": "\x1b[31mred 漢", "completion": "x"}))
    command = [sys.executable, "-m", "launcher", "check", str(path), "--show", "1"]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
    assert b"?[31mred ?" in done.stdout


def test_golden_overlap(tickets: Path, golden: Path, tmp_path: Path) -> None:
    assert check(tickets, "--golden", golden).exit_code == 0, "the shipped sets do not overlap"
    asked = json.loads(tickets.read_text().splitlines()[4])["messages"][0]["content"]
    leak = tmp_path / "golden.jsonl"
    leak.write_text(json.dumps({"input": asked.upper(), "target": "x"}))
    result = check(tickets, "--golden", leak)
    assert result.exit_code == 1
    assert f"error: {tickets}:5: asks what line 1 of the golden set" in result.output
    assert check(tickets, "--golden", leak, "--allow-overlap").exit_code == 0


def test_golden_prompts_that_stand_twice_are_warned_of(tickets: Path, tmp_path: Path) -> None:
    twice = tmp_path / "golden.jsonl"
    twice.write_text("".join(json.dumps({"input": "a", "target": target}) + "\n" for target in "bcb"))
    result = check(tickets, "--golden", twice)
    assert result.exit_code == 0
    assert f"warning: {twice}:2: the same prompt as line 1 with another target" in result.output
    assert f"warning: {twice}:3: the same prompt and target as line 1" in result.output
    data = json.loads(check(tickets, "--golden", twice, "--json").output)
    assert (data["ok"], [found["line"] for found in data["golden_warnings"]]) == (True, [2, 3])
    twice.write_text("".join(json.dumps({"input": "a", "target": "b"}) + "\n" for _ in range(23)))
    assert "2 more prompts stand twice" in check(tickets, "--golden", twice).output


def test_a_golden_set_that_is_none_is_said(tickets: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "golden.jsonl"
    wrong.write_text('{"input": "a", "target": "b"}\n{"text": "a"}\n')
    result = check(tickets, "--golden", wrong)
    assert result.exit_code == 1
    assert f"error: {wrong}:2: is a row of plain text" in result.output
    data = json.loads(check(tickets, "--golden", wrong, "--json").output)
    assert (data["ok"], data["errors"], data["golden_problems"][0]["line"]) == (False, 0, 2)


@pytest.mark.parametrize(
    ("args", "code", "said"),
    [
        (["none.jsonl"], 2, "no such data file"),
        (["{tickets}", "--golden", "none.jsonl"], 2, "no such data file"),
        (["{tickets}", "--model", "cpu-tinny"], 2, "cpu-tiny"),
        (["{tickets}", "--chat-template", "chatlm"], 2, "chatml"),
        (["{tickets}", "--chat-template", "llama3", "--model", "cpu-tiny"], 1, "<|eot_id|>"),
        (["{empty}"], 1, "the file has no rows"),
    ],
)
def test_bad_input_is_one_clear_error(args: list[str], code: int, said: str, tickets: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.touch()
    result = check(*[arg.format(tickets=tickets, empty=empty) for arg in args])
    assert result.exit_code == code
    assert said in result.output
    assert "Traceback" not in result.output
