from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.catalog import load_model
from launcher.sizing import Cost, MemoryRequest, RowLengths, Workload, estimate_cost
from launcher.trainers import get_trainer

JOB = MemoryRequest(load_model("mistral-7b"), get_trainer("axolotl").terms, "qlora", 2048, 1)
WORK = Workload(
    train_rows=9_500,
    eval_rows=500,
    lengths=RowLengths((300.0,)),
    num_epochs=3,
    evals_per_epoch=4,
    effective_rows=16,
)


def cost(work: Workload = WORK, job: MemoryRequest = JOB, **changes: object) -> Cost:
    known: dict[str, object] = {"tokens_per_second": 1000.0, "usd_per_hour": 1.006}
    return estimate_cost(work, job, **(known | changes))  # type: ignore[arg-type]


def test_hours_are_the_sum_of_their_parts_and_cost_what_the_card_does() -> None:
    found = cost()
    trained = 9_500 * 3 * 300 / 1000 + 12 * 3  # and twelve checkpoints of 3 s
    assert found.parts_hours["train"] == pytest.approx(trained / 3600)
    assert found.parts_hours["evaluate"] == pytest.approx(13 * 500 * 300 / 3000 / 3600)
    assert found.hours == pytest.approx(sum(found.parts_hours.values()))
    assert found.usd == pytest.approx(found.hours * 1.006)
    assert found.tokens == 9_500 * 3 * 300


def test_evaluation_is_a_third_of_a_step_with_checkpointing_and_half_without() -> None:
    kept = cost(job=replace(JOB, gradient_checkpointing=False)).parts_hours["evaluate"]
    assert kept == pytest.approx(cost().parts_hours["evaluate"] * 1.5)


def test_evaluation_pads_its_own_batches() -> None:
    wide = replace(WORK, lengths=RowLengths((100.0, 900.0)))
    small, large = (
        cost(wide, replace(JOB, micro_batch_size=1, eval_batch_size=rows)).parts_hours["evaluate"] for rows in (1, 16)
    )
    assert large > 1.5 * small


def test_max_steps_cuts_the_run() -> None:
    found = cost(replace(WORK, max_steps=10))
    assert found.tokens == 160 * 300
    assert found.parts_hours["train"] == pytest.approx((160 * 300 / 1000 + 4 * 3) / 3600)


def test_what_is_not_done_takes_no_time() -> None:
    found = cost(download=False, merge=False)
    assert found.parts_hours["download"] == found.parts_hours["merge"] == found.parts_hours["golden"] == 0
    assert found.parts_hours["verify"] == 0
    assert cost(replace(WORK, eval_rows=0)).parts_hours["evaluate"] == 0
    assert not any("download" in text for text in found.assumptions)


def test_a_golden_set_takes_time_and_a_longer_one_more() -> None:
    few, many = (cost(replace(WORK, golden_rows=rows)).parts_hours["golden"] for rows in (8, 800))
    assert 0 < few < many
    assert any("golden" in text for text in cost(replace(WORK, golden_rows=8)).assumptions)


def test_the_golden_set_is_answered_twice_where_nothing_is_merged() -> None:
    asked = replace(WORK, golden_rows=800)
    merged, alone = (cost(asked, merge=merge).parts_hours["golden"] for merge in (True, False))
    assert alone < 0.7 * merged


def test_without_a_price_there_are_no_dollars() -> None:
    assert cost(usd_per_hour=None).usd is None
