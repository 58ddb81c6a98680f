"""What the stages say about what they found."""

from __future__ import annotations

from launcher.records.codec import decode
from launcher.records.merged import Merged
from launcher.records.run import Training
from launcher.runs.stages import no_change


def merged(**facts: float | None) -> Merged:
    return decode(Merged, {"dtype": "float16", "merged_modules": 28, **facts})


BEST = Training(steps=1, best_checkpoint="checkpoint-1")


def test_an_adapter_that_learned_nothing_is_said() -> None:
    assert "checkpoint-1 was the best" in str(no_change(merged(delta_error=None), BEST))
    assert str(no_change(merged(delta_error=None), Training(steps=1))).endswith("training began with")


def test_an_adapter_that_changes_the_base_is_not_spoken_of() -> None:
    assert no_change(merged(delta_error=0.01), BEST) is None
    assert no_change(merged(), None) is None  # merged by a library that measures no delta
