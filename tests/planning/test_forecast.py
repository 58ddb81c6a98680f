"""Hours are those of what is trained: not of rows that a cut leaves out, and of every piece of a text that is split."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from launcher.data.facts import DataFacts
from launcher.planning.forecast import Forecast, plan_and_forecast
from launcher.preparing.request import make_request

ROWS = DataFacts(
    rows=10_000,
    eval_rows=500,
    conversational=True,
    tokens_total=12_000_000,
    tokens_mean=1200.0,
    tokens_p95=2000,
    tokens_max=2000,
    exact=True,
    quantiles=(400,) * 100 + (2000,) * 100,
    starts=(100,) * 150 + (1800,) * 50,
)


def estimated(data: DataFacts = ROWS, **settings: Any) -> Forecast:
    fixed = {"micro_batch_size": 1, "packing": False, "gradient_checkpointing": True, "sequence_len": 512}
    return plan_and_forecast(make_request(preset="a10g-7b", data=data, settings={**fixed, **settings}))


def trained(found: Forecast) -> int:
    assert found.cost is not None
    return found.cost.tokens


def test_rows_that_keep_no_trained_token_are_left_out_of_the_hours() -> None:
    all_kept = estimated(replace(ROWS, starts=()))
    found = estimated()
    assert trained(all_kept) == 9500 * 3 * (400 + 512) / 2
    assert trained(found) == 9500 * 0.75 * 3 * (400 * 100 + 512 * 50) / 150
    assert found.cost and all_kept.cost
    assert found.cost.parts_hours["evaluate"] < all_kept.cost.parts_hours["evaluate"]
    assert any(note.startswith("25% of the rows would keep no trained token at 512 tokens") for note in found.notes)
    assert any(note.startswith("25% of the rows are longer than 512 tokens and are cut there") for note in found.notes)
    assert not any("left out" in note for note in (*all_kept.notes, *estimated(sequence_len=2048).notes))


def test_that_rows_are_cut_is_said_also_where_their_lengths_are_estimates() -> None:
    guessed = replace(ROWS, exact=False, tokens_mean=10_000.0, tokens_max=40_000, quantiles=(), starts=())
    found = plan_and_forecast(make_request(preset="a10g-7b", data=guessed))
    assert found.plan.sequence_len == 2048
    assert any(
        note.startswith("100% of the rows are longer than 2048 tokens and are cut there") for note in found.notes
    )
    refused = estimated(excess_length="raise")
    assert any(note.endswith("512 tokens: a launch refuses them") for note in refused.notes)
    assert not any("are cut there" in note for note in (*refused.notes, *estimated(sequence_len=2048).notes))


def test_rows_that_are_dropped_are_left_out_of_the_hours() -> None:
    found = estimated(excess_length="drop")
    assert trained(found) == 9500 * 0.5 * 3 * 400
    assert any(note.startswith("50% of the rows are longer than 512 tokens: they are left out") for note in found.notes)
    assert not any("are cut there" in note for note in found.notes)


def test_a_text_that_is_split_is_trained_whole() -> None:
    texts = replace(ROWS, conversational=False, starts=(0,) * 200)
    whole, split = estimated(texts, sequence_len=2048), estimated(texts, sequence_len=512)
    assert trained(whole) == 9500 * 3 * 1200
    assert trained(split) == pytest.approx(9500 * 3 * 1200, rel=0.01)
    assert trained(estimated(texts, sequence_len=512, max_steps=10)) == pytest.approx(160 * 400, rel=0.2)


def test_the_tail_of_a_very_long_text_is_said_to_be_lost() -> None:
    texts = replace(ROWS, conversational=False, starts=(0,) * 200, quantiles=(*ROWS.quantiles[:-50], *(33_000,) * 50))
    found = estimated(texts, sequence_len=512)
    assert any(note.startswith("25% of the texts are longer than 64 pieces of 512 tokens") for note in found.notes)
    assert not any("pieces" in note for note in estimated(texts, sequence_len=1024).notes)


def test_max_steps_count_what_is_trained() -> None:
    assert trained(estimated(max_steps=10)) == round(160 * (400 * 100 + 512 * 50) / 150)


def test_a_share_that_is_not_nothing_is_not_called_so() -> None:
    one = replace(ROWS, quantiles=(*ROWS.quantiles[:-1], 60_000), starts=())
    assert any(
        note.startswith("less than 1% of the rows are longer") for note in estimated(one, sequence_len=2048).notes
    )


def test_the_reason_of_a_length_says_what_becomes_of_longer_rows() -> None:
    long = replace(ROWS, tokens_max=60_000, quantiles=(*ROWS.quantiles[:-1], 60_000))
    said = {}
    for name, data in (("cut", long), ("split", replace(long, conversational=False))):
        said[name] = plan_and_forecast(make_request(preset="a10g-7b", data=data)).plan.reasons["sequence_len"]
    dropped = make_request(preset="a10g-7b", data=long, settings={"excess_length": "drop"})
    said["left out"] = plan_and_forecast(dropped).plan.reasons["sequence_len"]
    assert all(f"of the rows are {word}: " in reason for word, reason in said.items())
