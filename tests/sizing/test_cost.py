from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.catalog import load_model
from launcher.sizing import Cost, Workload, estimate_cost
from launcher.sizing.cost import padded_length

WORK = Workload(
    train_rows=9_500, eval_rows=500, tokens_mean=300, tokens_p95=700, num_epochs=3, evals_per_epoch=4, packing=False
)


def cost(work: Workload = WORK, **changes: object) -> Cost:
    known: dict[str, object] = {
        "tokens_per_second": 1000.0,
        "micro_batch_size": 1,
        "effective_batch_size": 16,
        "sequence_len": 2048,
        "usd_per_hour": 1.006,
    }
    found = estimate_cost(work, load_model("mistral-7b"), **(known | changes))  # type: ignore[arg-type]
    assert found is not None
    return found


def test_hours_are_the_sum_of_their_parts_and_cost_what_the_card_does() -> None:
    found = cost()
    assert found.parts_hours["train"] == pytest.approx(9_500 * 3 * 300 / 1000 / 3600)
    assert found.parts_hours["evaluate"] == pytest.approx(12 * 500 * 300 / 3000 / 3600)
    assert found.hours == pytest.approx(sum(found.parts_hours.values()))
    assert found.usd == pytest.approx(found.hours * 1.006)
    assert found.tokens == 9_500 * 3 * 300


def test_padding_grows_with_the_micro_batch_and_packing_has_none() -> None:
    assert padded_length(WORK, 1, 2048) == 300
    assert 300 < padded_length(WORK, 4, 2048) < padded_length(WORK, 16, 2048) < 700
    assert padded_length(replace(WORK, packing=True), 16, 2048) == 300
    assert padded_length(WORK, 16, 256) == 256


def test_max_steps_cuts_the_run() -> None:
    assert cost(replace(WORK, max_steps=10)).parts_hours["train"] == pytest.approx(160 * 300 / 1000 / 3600)


def test_what_is_not_done_takes_no_time() -> None:
    found = cost(download=False, merge=False)
    assert found.parts_hours["download"] == found.parts_hours["merge"] == found.parts_hours["golden"] == 0
    assert cost(replace(WORK, golden_rows=100)).parts_hours["golden"] == pytest.approx(300 / 3600)
    assert not any("download" in text for text in found.assumptions)


def test_no_speed_no_hours_and_no_price_no_dollars() -> None:
    assert cost(usd_per_hour=None).usd is None
    nothing = estimate_cost(
        WORK,
        load_model("mistral-7b"),
        tokens_per_second=None,
        micro_batch_size=1,
        effective_batch_size=16,
        sequence_len=2048,
    )
    assert nothing is None
