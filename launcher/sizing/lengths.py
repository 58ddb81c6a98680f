"""Rows as a micro-batch sees them: how long they are, and how much of a padded batch is padding."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Literal

from launcher.data.facts import MOST_PIECES, DataFacts

# A packed sequence is filled to this share on average: first-fit over groups of rows leaves a little free.
PACKED_FILL = 0.97
# Where only a mean is known, rows are taken to be log-normal with this width: the 95th percentile is twice the mean,
# about what instruction data shows.
ASSUMED_SIGMA = 0.5
PAD_MULTIPLE = 8  # trainers round a batch's length up to this


# What becomes of a row longer than the sequence length: its end is cut off; it is left out; or, for plain texts,
# whatever is asked for, it is split into several.
CutFate = Literal["truncate", "drop", "split"]
SHARES = 200  # a split text has so many pieces that only these shares of them are kept


@dataclass(frozen=True)
class RowLengths:
    """Lengths in tokens at equal shares of the rows, ascending; every figure is of what is trained at ``limit`` tokens.

    ``starts`` are the places of the first trained token, at equal shares likewise: of a row that is cut there nothing
    would be trained, so it is left out. Empty: every row keeps something.
    """

    quantiles: tuple[float, ...]
    starts: tuple[float, ...] = ()
    fate: CutFate = "truncate"

    @cached_property
    def _cuts(self) -> dict[int, tuple[tuple[float, ...], float]]:
        return {}

    def _at(self, limit: int) -> tuple[tuple[float, ...], float]:
        """What is trained at ``limit``: the lengths, and how many sequences each row of the data becomes."""
        if limit not in self._cuts:
            self._cuts[limit] = self._split(limit) if self.fate == "split" else self._kept(limit)
        return self._cuts[limit]

    def _kept(self, limit: int) -> tuple[tuple[float, ...], float]:
        out = sum(start >= limit for start in self.starts) / len(self.starts) if self.starts else 0.0
        if self.fate == "drop":
            out = max(out, self.share_over(limit))
        # What is left out is longer than the limit, so it is among the last.
        count = len(self.quantiles) - round(out * len(self.quantiles))
        lengths = tuple(min(length, limit) for length in self.quantiles[: max(1, count)])
        return lengths, 1 - out

    def _split(self, limit: int) -> tuple[tuple[float, ...], float]:
        whole = sum(min(int(length // limit), MOST_PIECES) for length in self.quantiles)
        rests = sorted(length % limit for length in self.quantiles if length % limit and length < limit * MOST_PIECES)
        count = len(rests) + whole
        shares = min(count, max(SHARES, len(self.quantiles)))
        places = (-(-count * share // shares) - 1 for share in range(1, shares + 1))
        lengths = tuple(rests[place] if place < len(rests) else float(limit) for place in places)
        return lengths, count / len(self.quantiles)

    def cut(self, limit: int) -> tuple[float, ...]:
        """The lengths of what is trained."""
        return self._at(limit)[0]

    def sequences(self, limit: int) -> float:
        """How many sequences are trained for each row of the data: fewer than one where rows are left out."""
        return self._at(limit)[1]

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


@lru_cache(maxsize=64)  # the solver asks for each shape that it tries
def row_lengths(facts: DataFacts, excess_length: str = "truncate") -> RowLengths:
    """What is known of the rows' lengths: measured where the data was read, else assumed from mean and maximum.

    ``excess_length`` is the plan's: what becomes of the long ones, where they are conversations.
    """
    fate: CutFate = "split" if not facts.conversational else "drop" if excess_length == "drop" else "truncate"
    if facts.quantiles:
        starts = tuple(float(start) for start in facts.starts)
        return RowLengths(tuple(float(max(1, length)) for length in facts.quantiles), starts, fate)
    return replace(assumed_lengths(facts.tokens_mean, facts.tokens_max), fate=fate)


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
