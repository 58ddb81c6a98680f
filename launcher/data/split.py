"""Which rows are held out for the evaluation loss."""

from __future__ import annotations

import random
from collections.abc import Sequence


def choose_eval(digests: Sequence[int], fraction: float, seed: int) -> frozenset[int]:
    """The indices of the rows held out: about ``fraction`` of them, the same for the same seed and rows.

    Rows with the same digest stay on one side. At least one row is held out where ``fraction`` > 0 and there are two
    distinct rows, and at least one distinct row is left to train on.
    """
    groups: dict[int, list[int]] = {}
    for index, digest in enumerate(digests):
        groups.setdefault(digest, []).append(index)
    if fraction <= 0 or len(groups) < 2:
        return frozenset()
    wanted = max(1, round(len(digests) * fraction))
    order = list(groups.values())
    random.Random(seed).shuffle(order)
    chosen: list[int] = []
    for group in order[1:]:  # the first is always left to train on
        if len(chosen) + len(group) <= wanted:
            chosen += group
    if not chosen:
        chosen = min(order[1:], key=len)
    return frozenset(chosen)
