"""What a signal would cost where a step does not fit the time that it leaves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from launcher.planning.forecast import plan_and_forecast
from launcher.preparing.request import make_request
from launcher.runs.launch import grace_notes


@pytest.mark.parametrize(("step", "within"), [(None, 1.0), (10.0, 90.0), (87.0, 90.0)])
def test_what_fits_is_not_spoken_of(step: float | None, within: float) -> None:
    assert grace_notes(step, within) == []


def test_what_does_not_fit_is_said_with_its_seconds() -> None:
    [said] = grace_notes(120.4, 30.0)
    assert said == (
        "a step takes about 120 s and its checkpoint 3 s, but SIGTERM leaves 30 s: "
        "it would lose the steps since the last checkpoint"
    )


def test_a_steps_seconds_are_its_tokens_at_the_forecasts_speed() -> None:
    found = plan_and_forecast(make_request(preset="a10g-7b"))
    assert found.tokens_per_second is not None
    tokens = found.plan.effective_batch_size * found.plan.sequence_len
    assert found.step_seconds == pytest.approx(tokens / found.tokens_per_second)
    request = make_request(preset="a10g-7b")
    unknown = replace(request, gpu=replace(request.gpu, tflops_16bit=None))
    assert plan_and_forecast(unknown).step_seconds is None
