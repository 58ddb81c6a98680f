from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.data import findings as findings_module
from launcher.data.inspect import inspect_data
from launcher.data.report import DataReport, even_histogram, line_ranges
from launcher.errors import BadInput, QlError


def chat(question: str, answer: str = "yes") -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


def write(folder: Path, rows: Sequence[Any], name: str = "rows.jsonl") -> Path:
    path = folder / name
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return path


def found(report: DataReport) -> set[tuple[str, str, int | None]]:
    return {(finding.severity, finding.kind, finding.line) for finding in report.findings.kept}


def test_every_problem_is_found_with_its_line(tmp_path: Path) -> None:
    rows = [
        chat("one"),
        "not json",
        chat("two"),
        {"text": "another format"},
        {"foo": 1},
        {"messages": [{"role": "user", "content": "never answered"}]},
        chat("one"),
        chat("say <|im_end|>"),
        {"messages": [*chat("three")["messages"], {"role": "user", "content": "and?"}]},
        "[1]",
    ]
    report = inspect_data(write(tmp_path, rows))
    assert found(report) == {
        ("error", "unreadable", 2),
        ("error", "mixed", 4),
        ("error", "format", 5),
        ("error", "no_assistant", 6),
        ("warning", "duplicate", 7),
        ("warning", "control_token", 8),
        ("warning", "tail", 9),
        ("error", "unreadable", 10),
    }
    assert (report.lines_read, report.row_count, report.ok) == (10, 5, False)
    duplicate = next(finding for finding in report.findings.kept if finding.kind == "duplicate")
    assert "line 1" in duplicate.message
    with pytest.raises(BadInput) as caught:
        report.require_rows()
    assert [problem.line for problem in caught.value.problems] == [2, 4, 5, 6, 10]


def test_an_answer_that_ends_in_the_bases_own_end_is_warned_of(tmp_path: Path, bases: dict[str, Path]) -> None:
    """The template writes the end itself: it would be trained twice, and what follows it never."""
    rows = [chat("one"), {"messages": [chat("two")["messages"][0], {"role": "assistant", "content": "yes</s>"}]}]
    path = write(tmp_path, rows)
    ended = inspect_data(path, base=bases["pieces"], chat_template="inst")
    [finding] = [finding for finding in ended.findings.kept if finding.kind == "control_token"]
    assert (finding.line, "</s>" in finding.message) == (2, True)
    assert not found(inspect_data(path, base=bases["bytes"], chat_template="inst"))


def test_same_row_in_two_spellings_is_a_duplicate(tmp_path: Path) -> None:
    parts = {
        "messages": [{"role": "human", "content": [{"type": "text", "text": "a"}]}, chat("a")["messages"][1]],
        "id": 7,
    }
    assert ("warning", "duplicate", 2) in found(inspect_data(write(tmp_path, [chat("a"), parts])))


@pytest.mark.parametrize("text", ["", "\n\n", "[]", "\ufeff"])
def test_empty_file_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(text)
    report = inspect_data(path)
    assert not report.ok
    assert report.lengths is None
    assert report.facts().rows == 0
    assert "no rows" in report.problems()[0].message


def test_notes(tmp_path: Path) -> None:
    weighted = chat("a", " b")
    weighted["messages"][1]["weight"] = 0.5
    path = tmp_path / "rows.jsonl"
    path.write_text("\ufeff" + json.dumps(weighted))
    notes = "\n".join(inspect_data(path).notes)
    assert "byte-order mark" in notes
    assert "weight of a turn, where it is neither 0 nor 1, is given in 1 of 1 rows (100 %) and not read" in notes
    assert "white space" in notes


@pytest.fixture
def lengthy(tmp_path: Path) -> Path:
    """Three short rows, one whose answer is long, one whose question is."""
    return write(tmp_path, [chat("a"), chat("b"), chat("c"), chat("d", "x " * 100), chat("e " * 100)])


def test_what_a_sequence_length_cuts_is_counted(lengthy: Path, bases: dict[str, Path]) -> None:
    whole = inspect_data(lengthy, base=bases["bytes"])
    assert whole.excess is None
    cut = inspect_data(lengthy, base=bases["bytes"], sequence_len=64)
    assert cut.lengths is not None
    assert cut.lengths.exact
    assert cut.excess is not None
    assert cut.excess.long_rows == 2
    assert cut.excess.untrained_rows == 1
    assert cut.excess.tokens_over == sum(total - 64 for total in whole.rows.totals if total > 64)
    assert cut.kept() == [0, 1, 2, 3]
    assert cut.facts().rows == 4
    starts = whole.facts().starts
    assert sum(start >= 64 for start in starts) == whole.row_count - len(cut.kept())
    assert found(cut) == {("warning", "long", 4), ("warning", "long", 5)}
    assert "2 of 5 rows are longer than 64 tokens: they are cut" in cut.excess.describe(5, True)


def test_dropping_and_refusing_long_rows(lengthy: Path, bases: dict[str, Path]) -> None:
    dropped = inspect_data(lengthy, base=bases["bytes"], sequence_len=64, excess_length="drop")
    assert dropped.ok
    assert dropped.kept() == [0, 1, 2]
    refused = inspect_data(lengthy, base=bases["bytes"], sequence_len=64, excess_length="raise")
    assert [problem.line for problem in refused.problems()] == [4, 5]


def test_rows_are_not_left_out_on_an_estimate(lengthy: Path) -> None:
    report = inspect_data(lengthy, sequence_len=64)
    assert report.lengths is not None
    assert not report.lengths.exact
    assert report.kept() == [0, 1, 2, 3, 4]
    assert report.excess is not None
    assert report.excess.describe(5, False).startswith("about 2 of 5")


def test_nothing_left_is_an_error(tmp_path: Path, bases: dict[str, Path]) -> None:
    path = write(tmp_path, [chat("a " * 100), chat("b " * 100)])
    report = inspect_data(path, base=bases["bytes"], sequence_len=32)
    assert found(report) >= {("error", "too_long", None)}
    assert not report.ok


def test_long_texts_are_split_not_cut(tmp_path: Path, bases: dict[str, Path]) -> None:
    report = inspect_data(write(tmp_path, [{"text": "x " * 100}]), base=bases["bytes"], sequence_len=32)
    assert report.excess is not None
    assert report.excess.strategy == "split"
    assert report.ok
    assert report.kept() == [0]
    assert not report.conversational


def test_a_text_of_more_pieces_than_a_trainer_makes_loses_its_tail(tmp_path: Path, bases: dict[str, Path]) -> None:
    path = write(tmp_path, [{"text": "x " * 100}, {"text": "x" * 31 * 64}, {"text": "y " * 32 * 64}])
    whole = inspect_data(path, base=bases["bytes"])
    report = whole.limited(32, "truncate")
    totals, most = whole.rows.totals, 32 * 64
    assert totals[1] <= most < totals[2]
    assert report.excess is not None
    assert (report.excess.tail_rows, report.excess.tail_tokens) == (1, totals[2] - most)
    assert report.excess.describe(3, True).endswith(
        f"split into several, and of 1 of them what lies beyond 64 pieces is lost, {totals[2] - most} tokens in all"
    )
    said = [finding.message for finding in report.findings.kept if finding.kind == "long"]
    assert ["lost" in message for message in said] == [False, False, True]
    longer = whole.limited(66, "truncate").excess
    assert longer is not None
    assert longer.describe(3, True).endswith("nothing is lost")


def test_length_summary(tmp_path: Path) -> None:
    report = inspect_data(write(tmp_path, [{"text": "x" * round(3.17 * n)} for n in (10, 20, 30, 40, 1000)]))
    lengths = report.lengths
    assert lengths is not None
    assert (lengths.minimum, lengths.median, lengths.p95, lengths.maximum) == (10, 30, 1000, 1000)
    assert (lengths.total, lengths.mean) == (1100, 220)
    assert lengths.histogram == ((16, 1), (32, 2), (64, 1), (128, 0), (256, 0), (512, 0), (1024, 1))


def test_rows_of_the_golden_set(tmp_path: Path) -> None:
    multi = {"messages": [*chat("Hello ")["messages"], *chat("And  YOU?")["messages"]]}
    path = write(tmp_path, [chat("Which queue?"), chat("other"), multi, chat("And you?")])
    golden = write(
        tmp_path,
        [
            {"input": "other question", "target": "x"},
            {"input": "which  QUEUE?", "target": "x"},
            {"input": [*chat("hello")["messages"], {"role": "user", "content": "and you?"}], "target": "x"},
            {"input": 3},
            {"input": [{"role": "x"}]},
            "nonsense",
        ],
        "golden.jsonl",
    )
    report = inspect_data(path, golden=golden)
    assert found(report) == {("error", "golden", 1), ("error", "golden", 3)}
    assert report.findings.kept[0].message.endswith(": take one of them out, or --allow-overlap")
    assert "line 2 of the golden set" in report.problems()[0].message
    assert inspect_data(path, golden=golden, allow_overlap=True).ok


def test_a_golden_set_given_as_data_is_told_as_one(tmp_path: Path) -> None:
    path = write(tmp_path, [{"id": "a", "input": "2+2?", "target": "4"}, {"input": "x", "output": "y"}])
    said = [finding.message for finding in inspect_data(path).findings.kept]
    assert "a golden set, which --golden takes" in said[0]
    assert "golden" not in said[1]


def test_findings_beyond_those_kept_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(findings_module, "KEPT_FINDINGS", 3)
    monkeypatch.setattr(findings_module, "SHOWN", 3)
    report = inspect_data(write(tmp_path, [chat("a"), *(f"{'x' * n}" for n in range(1, 11))]))
    assert report.findings.count("error") == 10
    assert line_ranges(report.findings.lines["error", "unreadable"]) == "2-11"


def test_line_ranges() -> None:
    assert line_ranges([3, 1, 2, 9, 7]) == "1-3, 7, 9"
    assert line_ranges(range(0, 100, 2), most=3) == "0, 2, 4, …"


def test_report_is_json(lengthy: Path) -> None:
    facts = json.loads(json.dumps(inspect_data(lengthy, sequence_len=64).to_dict()))
    assert facts["rows"] == 5
    assert facts["counts"] == {"long": 2}
    assert facts["excess"]["long_rows"] == 2


def test_template_that_a_row_does_not_fit_is_said(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    refusal = "{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    template = "{% for m in messages %}" + refusal + "{{ m.content }}</s>{% endfor %}"
    config = {"eos_token": "</s>", "pad_token": "<pad>", "chat_template": template}
    (base / "tokenizer_config.json").write_text(json.dumps(config))
    rows = [chat("a"), {"messages": [{"role": "system", "content": "x"}, *chat("a")["messages"]]}]
    report = inspect_data(write(tmp_path, rows), base=base, chat_template="tokenizer")
    assert found(report) == {("error", "template", 2)}
    assert "no system" in report.problems()[0].message


KEYS = [
    *("messages", "role", "content", "from", "value", "conversations", "text", "tools", "tool_calls"),
    *("prompt", "completion", "instruction", "input", "output", "function", "name", "arguments"),
]
LINES = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(KEYS) | st.text(max_size=3),
                    inner | st.sampled_from(["user", "assistant", "tool", "x"]),
                    max_size=4,
                )
            ),
            max_leaves=12,
        ).map(lambda value: json.dumps(value).encode()),
    ),
    max_size=6,
)


@settings(max_examples=examples(300), deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(lines=LINES)
def test_any_file_gives_a_report_or_one_clear_error(
    lines: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("any") / "rows.jsonl"
    path.write_bytes(b"\n".join(lines))
    try:
        report = inspect_data(path, sequence_len=16)
    except QlError:
        return
    assert report.ok == (not report.problems())
    json.dumps(report.to_dict(), allow_nan=False)
    assert not report.ok or report.kept()


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=200), st.integers(2, 40))
def test_bins_of_one_width_hold_every_row(totals: list[int], most: int) -> None:
    bins = even_histogram(totals, most)
    assert len(bins) <= most
    assert sum(rows for _, rows in bins) == len(totals)
    widths = {after - before for (before, _), (after, _) in itertools.pairwise(bins)}
    assert len(widths) <= 1
    width = widths.pop() if widths else bins[0][0]
    for upper, rows in bins:
        assert rows == sum(upper - width < total <= upper for total in totals)


def test_no_rows_no_bins() -> None:
    assert even_histogram([]) == []
