"""Padding by arithmetic against padding by drawing: the expected longest row of a micro-batch."""

from __future__ import annotations

import random
import statistics
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.data.facts import NEVER, DataFacts
from launcher.sizing import RowLengths, row_lengths
from launcher.sizing.lengths import assumed_lengths

lengths = st.lists(st.integers(min_value=1, max_value=4000), min_size=1, max_size=60).map(
    lambda values: RowLengths(tuple(float(value) for value in sorted(values)))
)


def test_the_expected_longest_is_what_drawing_gives() -> None:
    draw = random.Random(0)
    rows = RowLengths(tuple(sorted(draw.lognormvariate(5, 0.7) for _ in range(500))))
    for count in (1, 4, 16):
        longest = [max(draw.choices(rows.quantiles, k=count)) for _ in range(4000)]
        # 3.5: batches are padded to a multiple of 8
        assert rows.padded(count, 100_000) == pytest.approx(statistics.mean(longest) + 3.5, rel=0.03)


@given(lengths, st.integers(min_value=16, max_value=4096))
def test_padding_grows_with_the_micro_batch_and_never_passes_the_limit(rows: RowLengths, limit: int) -> None:
    padded = [rows.padded(count, limit) for count in (1, 2, 4, 8, 64)]
    assert all(a <= b + 1e-9 for a, b in pairwise(padded))
    assert rows.mean(limit) <= padded[0] + 1e-9
    assert padded[-1] <= limit
    assert rows.mean(limit) - 1e-9 <= rows.attended(limit) <= limit


def test_the_share_that_a_length_cuts() -> None:
    rows = RowLengths((10.0, 20.0, 30.0, 40.0))
    assert rows.share_over(25) == 0.5
    assert rows.share_over(40) == 0.0


def facts(**changes: Any) -> DataFacts:
    values: dict[str, Any] = {
        "rows": 10, "eval_rows": 1, "conversational": True, "tokens_total": 3000, "tokens_mean": 300.0,
        "tokens_p95": 600, "tokens_max": 1200, "exact": True,
    }  # fmt: skip
    return DataFacts(**values | changes)


def test_measured_lengths_win_over_assumed_ones() -> None:
    assert row_lengths(facts(quantiles=(5, 7))).quantiles == (5.0, 7.0)
    assumed = row_lengths(facts())
    assert assumed.mean(10_000) == pytest.approx(300, rel=0.02)
    assert max(assumed.quantiles) <= 1200


def test_assumed_rows_are_as_wide_as_stated() -> None:
    rows = assumed_lengths(300, 100_000)
    assert rows.quantiles[int(0.95 * len(rows.quantiles))] == pytest.approx(600, rel=0.05)


def test_what_a_cut_leaves_out_is_not_trained() -> None:
    rows = RowLengths((50.0, 90.0, 400.0, 900.0), starts=(10.0, 20.0, 30.0, 700.0))
    assert rows.cut(300) == (50.0, 90.0, 300.0)
    assert rows.sequences(300) == 0.75
    assert rows.sequences(1000) == 1.0
    dropped = RowLengths(rows.quantiles, rows.starts, "drop")
    assert dropped.cut(300) == (50.0, 90.0)
    assert dropped.sequences(300) == 0.5
    assert dropped.mean(300) == 70.0
    assert RowLengths((50.0,), (NEVER,)).sequences(300) == 0.0


def test_a_long_text_becomes_several_sequences() -> None:
    rows = RowLengths((100.0, 250.0, 700.0), fate="split")
    assert rows.cut(300) == (100.0, 100.0, 250.0, 300.0, 300.0)
    assert rows.sequences(300) == pytest.approx(5 / 3)
    assert rows.cut(1000) == rows.quantiles
    book = RowLengths((100.0, 1e9), fate="split")
    assert book.sequences(300) == (1 + 64) / 2


@given(lengths, st.integers(min_value=16, max_value=4096))
def test_splitting_loses_no_token(rows: RowLengths, limit: int) -> None:
    texts = RowLengths(tuple(min(length, 60.0 * limit) for length in rows.quantiles), fate="split")
    trained = texts.sequences(limit) * texts.mean(limit)
    assert trained == pytest.approx(sum(texts.quantiles) / len(texts.quantiles), rel=0.05)
    assert list(texts.cut(limit)) == sorted(texts.cut(limit))
    assert len(texts.cut(limit)) <= max(200, len(texts.quantiles))


def test_conversations_are_cut_or_left_out_and_texts_are_split() -> None:
    assert row_lengths(facts(quantiles=(5, 7), starts=(2, 3))).starts == (2.0, 3.0)
    fates = {asked: row_lengths(facts(), asked).fate for asked in ("truncate", "drop", "raise")}
    assert fates == {"truncate": "truncate", "drop": "drop", "raise": "truncate"}  # refused: there is no run to reckon
    assert row_lengths(facts(conversational=False), "drop").fate == "split"
