"""Rows as a micro-batch sees them: how long they are, and how much of a padded batch is padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from launcher.data.facts import DataFacts

# A packed sequence is filled to this share on average: Axolotl's first-fit over groups of rows leaves a little free.
PACKED_FILL = 0.97
# Where only a mean is known, rows are taken to be log-normal with this width: the 95th percentile is twice the mean,
# about what instruction data shows.
ASSUMED_SIGMA = 0.5
PAD_MULTIPLE = 8  # both trainers round a batch's length up to this


@dataclass(frozen=True)
class RowLengths:
    """Lengths in tokens at equal shares of the rows, ascending; every figure is of rows cut to ``limit`` tokens."""

    quantiles: tuple[float, ...]

    @cached_property
    def _cuts(self) -> dict[int, tuple[float, ...]]:
        return {}

    def cut(self, limit: int) -> tuple[float, ...]:
        if limit not in self._cuts:
            self._cuts[limit] = tuple(min(length, limit) for length in self.quantiles)
        return self._cuts[limit]

    def mean(self, limit: int) -> float:
        lengths = self.cut(limit)
        return sum(lengths) / len(lengths)

    def attended(self, limit: int) -> float:
        """The length at which attention costs per token what it costs these rows: sum of squares over sum."""
        lengths = self.cut(limit)
        return sum(length * length for length in lengths) / sum(lengths)

    def padded(self, rows: int, limit: int) -> float:
        """Tokens that each row of a micro-batch of ``rows`` takes: the expected longest of that many, rounded up to 8.

        The longest of n draws is at most the k-th of K quantiles with probability (k/K)^n.
        """
        lengths = self.cut(limit)
        count = len(lengths)
        expected, below = 0.0, 0.0
        for index, length in enumerate(lengths, start=1):
            upto = (index / count) ** rows
            expected += length * (upto - below)
            below = upto
        return min(expected + (PAD_MULTIPLE - 1) / 2, float(limit)) if expected < limit else float(limit)

    def share_over(self, limit: int) -> float:
        """Share of the rows that are longer than ``limit``."""
        return sum(length > limit for length in self.quantiles) / len(self.quantiles)


def row_lengths(facts: DataFacts) -> RowLengths:
    """What is known of the rows' lengths: measured where the data was read, else assumed from mean and maximum."""
    if facts.quantiles:
        return RowLengths(tuple(float(max(1, length)) for length in facts.quantiles))
    return assumed_lengths(facts.tokens_mean, facts.tokens_max)


def assumed_lengths(mean: float, longest: float, shares: int = 200) -> RowLengths:
    """Log-normal rows of that mean (see `ASSUMED_SIGMA`), none longer than ``longest``."""
    from statistics import NormalDist

    normal = NormalDist()
    scale = mean / math.exp(ASSUMED_SIGMA**2 / 2)
    drawn: Sequence[float] = [
        max(1.0, min(longest, scale * math.exp(ASSUMED_SIGMA * normal.inv_cdf((k + 0.5) / shares))))
        for k in range(shares)
    ]
    return RowLengths(tuple(drawn))
