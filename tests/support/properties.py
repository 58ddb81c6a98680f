"""How much a property is tried: all of it in `make test`, a little in `make quick`: its hypothesis profile says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from hypothesis import settings

Case = TypeVar("Case")


def examples(many: int) -> int:
    """How many examples to try where a whole run tries ``many``."""
    return max(1, many * settings.default.max_examples // 100)


def share(cases: Sequence[Case]) -> Sequence[Case]:
    """Which of the cases to try where a whole run tries them all."""
    return cases[:: max(1, 100 // settings.default.max_examples)]
