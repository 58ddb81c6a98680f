from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import BadInput, RunFailed
from launcher.golden import metrics
from launcher.golden.evaluate import GoldenResult, evaluate, metrics_for
from launcher.golden.gates import parse_gates
from launcher.golden.rows import GoldenRow
from launcher.golden.score import Scored, score_answers
from launcher.records.codec import decode
from launcher.records.jobs import GOLDEN, GoldenAnswers, ModelRequest
from launcher.runs.results.reporting import read_scores

ROWS = [GoldenRow("a", "2+2?", ("4", "four"), 1), GoldenRow("b", "3+3?", ("6",), 2)]


def run(tmp_path: Path, answers: dict[str, dict[str, str]], gates: tuple[str, ...] = ()) -> GoldenResult:
    """Evaluate with a worker that gives these answers, by subject and prompt."""

    def call(job: Any, request: Any) -> Any:
        assert job is GOLDEN
        assert request.prompts[0] == {"id": "a", "messages": [{"role": "user", "content": "2+2?"}]}
        assert request.answers == ["4", "6", "four"]
        found: dict[str, Any] = {}
        for subject in request.subjects:
            if subject not in answers:
                found[subject] = {"skipped": "needs 9 GiB"}
                continue
            path = Path(request.outputs[subject])
            path.parent.mkdir(parents=True, exist_ok=True)
            records = [{"id": name, "output": text} for name, text in answers[subject].items()]
            path.write_text("".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records), "utf-8")
            found[subject] = {"outputs": 2, "limit": 16, "unfinished": 1, "tokens": 2, "seconds": 0.1}
        return decode(GoldenAnswers, {"device": "cpu", "subjects": found})

    return evaluate(
        tmp_path,
        ROWS,
        call,
        subjects=["base", "adapter", "merged"],
        models=ModelRequest(base="somewhere", adapter="a", tokenizer="a", compute_dtype="float32", device="cpu"),
        gates=parse_gates(gates),
    )


def test_each_subject_is_scored_and_each_prompt_kept(tmp_path: Path) -> None:
    result = run(tmp_path, {"base": {"a": "5", "b": "6"}, "adapter": {"b": " 6\n", "a": "four"}})
    assert result.scores["base"]["exact_match"] == 0.5
    assert result.scores["adapter"]["exact_match"] == 1.0
    lines = (tmp_path / "golden" / "scores" / "base.jsonl").read_text("utf-8").splitlines()
    first = json.loads(lines[0])
    assert (first["id"], first["input"], first["targets"], first["output"]) == ("a", "2+2?", ["4", "four"], "5")
    assert (first["exact_match"], len(lines)) == (0.0, 2)


def test_what_was_not_scored_and_what_was_cut_is_said(tmp_path: Path) -> None:
    result = run(tmp_path, {"base": {"a": "5", "b": "6"}, "adapter": {"a": "5", "b": "6"}})
    assert "merged" not in result.scores
    assert result.notes == [
        "merged was not scored on the golden set: it needs 9 GiB",
        "adapter: 1 of 2 golden answers did not end within 16 tokens",
    ]


def test_a_gate_brings_its_metric(tmp_path: Path) -> None:
    answers = {"base": {"a": "xx4", "b": "5"}}
    assert "regex" not in run(tmp_path, answers).scores["base"]
    assert run(tmp_path, answers, ("regex>=0.5",)).scores["base"]["regex"] == 0.5


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85"])
def test_an_answer_may_hold_what_unicode_calls_a_line_break(mark: str, tmp_path: Path) -> None:
    result = run(tmp_path, {"base": {"a": f"4{mark}5", "b": "6"}, "merged": {"a": "4", "b": f"6{mark}"}})
    assert result.scores["base"]["exact_match"] == 0.5
    assert result.scores["merged"]["exact_match"] == 1.0
    assert [row["output"] for row in read_scores(tmp_path)["base"]] == [f"4{mark}5", "6"]


def test_a_pattern_without_end_counts_as_missed_and_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "PATTERN_SECONDS", 0.05)
    rows = [GoldenRow("a", "2+2?", ("(4+)+$",), 1), GoldenRow("b", "3+3?", ("6",), 2)]
    answers = {"a": {"output": "4" * 40 + "!"}, "b": {"output": "6"}}
    scored = score_answers(rows, answers, ["regex"], tmp_path / "scores.jsonl")
    assert scored == Scored({"regex": 0.5}, undecided=1)
    [note] = GoldenResult({}, undecided={"base": 0, "merged": 1}).notes
    assert note.startswith("merged: 1 patterns of the golden set took more than")


def test_a_prompt_without_an_answer_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(RunFailed, match="1 golden prompts have no answer, b"):
        run(tmp_path, {"base": {"a": "4"}})


def test_targets_that_are_no_patterns_are_told_before_the_run(tmp_path: Path) -> None:
    rows = [*ROWS, GoldenRow("c", "?", ("(",), 9)]
    assert "regex" not in metrics_for(rows, [], tmp_path / "g.jsonl")
    with pytest.raises(BadInput) as caught:
        metrics_for(rows, parse_gates(["regex>0"]), tmp_path / "g.jsonl")
    assert caught.value.problems[0].line == 9


@pytest.mark.parametrize(
    ("output", "targets", "score"),
    [
        ("<think>\ntwo and two\n</think>\n\n4", ("4",), 1.0),
        ("two and two\n</think>\n\n4", ("4",), 1.0),  # the prompt has opened the thought
        ("<think>\ntwo and two is 4", ("4",), 0.0),  # cut off in its thought
        ("4", ("4",), 1.0),
        ("<think>a</think>4", ("<think>a</think>4",), 1.0),  # the thought is asked for
        ("<think>b</think>4", ("<think>a</think>4",), 0.0),
    ],
)
def test_an_answer_is_scored_without_its_thought(
    output: str, targets: tuple[str, ...], score: float, tmp_path: Path
) -> None:
    path = tmp_path / "scores.jsonl"
    rows = [GoldenRow("a", "2+2?", targets, 1)]
    assert score_answers(rows, {"a": {"output": output}}, ["exact_match"], path).means == {"exact_match": score}
    assert json.loads(path.read_text())["output"] == output
