"""Two models on the same prompts: how far apart are their scores, and could chance alone have made the difference?

Scores of 0 and 1 are compared by the prompts that flipped: an exact McNemar test (a two-sided binomial test of the
flips, McNemar 1947), and Newcombe's interval of the difference of paired proportions (Newcombe 1998, method 10), which
stays honest where few prompts or none flipped. Other scores get a bootstrap interval of the mean difference.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from launcher.report.compared import PairedScore

Z = 1.959963984540054  # of a 95 % interval
RESAMPLES = 10_000
MOST_DRAWS = 3_000_000  # resamples times prompts: some seconds
FEWEST = 1_000


@dataclass(frozen=True)
class Paired:
    """``difference`` is the second mean minus the first, ``low`` to ``high`` its 95 % interval; scores are of 1.

    ``better`` and ``worse`` count the prompts on which the second scored higher, and lower. ``p_value`` is None where
    scores are not 0 or 1.
    """

    rows: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    better: int
    worse: int
    p_value: float | None
    method: str

    @property
    def evident(self) -> bool:
        """Whether the interval leaves out no difference at all."""
        return self.low > 0 or self.high < 0

    def to_dict(self) -> PairedScore:
        return {
            "rows": self.rows,
            "first": self.first,
            "second": self.second,
            "difference": self.difference,
            "low": self.low,
            "high": self.high,
            "better": self.better,
            "worse": self.worse,
            "p_value": self.p_value,
            "method": self.method,
            "evident": self.evident,
        }


def compare_scores(first: Sequence[float], second: Sequence[float], *, seed: int = 0) -> Paired:
    """The scores of two models on the same prompts, in the same order; at least one prompt."""
    rows = len(first)
    better = sum(b > a for a, b in zip(first, second, strict=True))
    worse = sum(b < a for a, b in zip(first, second, strict=True))
    means = math.fsum(first) / rows, math.fsum(second) / rows
    binary = all(value in (0, 1) for value in (*first, *second))
    if binary:
        both = sum(a == b == 1 for a, b in zip(first, second, strict=True))
        low, high = newcombe(both, worse, better, rows - both - worse - better)
        method = "exact McNemar test; Newcombe's interval"
    else:
        low, high = bootstrap([b - a for a, b in zip(first, second, strict=True)], seed)
        method = "bootstrap interval"
    return Paired(
        rows=rows,
        first=means[0],
        second=means[1],
        difference=means[1] - means[0],
        low=low,
        high=high,
        better=better,
        worse=worse,
        p_value=mcnemar(better, worse) if binary else None,
        method=method,
    )


def mcnemar(better: int, worse: int) -> float:
    """Two-sided p-value that flips are as likely in one direction as in the other; 1 without flips."""
    flips, fewer = better + worse, min(better, worse)
    if better == worse:
        return 1.0
    # The largest term of the binomial tail, and from it each smaller one by its ratio: no huge integers.
    log_largest = math.lgamma(flips + 1) - math.lgamma(fewer + 1) - math.lgamma(flips - fewer + 1) - flips * math.log(2)
    term = total = math.exp(log_largest)
    for count in range(fewer, 0, -1):
        term *= count / (flips - count + 1)
        total += term
        if term < total * 1e-17:
            break
    return min(1.0, 2 * total)


def wilson(successes: int, rows: int) -> tuple[float, float]:
    """The 95 % score interval of a proportion (Wilson 1927)."""
    share, square = successes / rows, Z * Z
    centre = share + square / (2 * rows)
    spread = Z * math.sqrt(share * (1 - share) / rows + square / (4 * rows * rows))
    scale = 1 + square / rows
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def newcombe(both: int, only_first: int, only_second: int, neither: int) -> tuple[float, float]:
    """The 95 % interval of the second proportion minus the first, of pairs (Newcombe 1998, method 10)."""
    rows = both + only_first + only_second + neither
    first, second = (both + only_first) / rows, (both + only_second) / rows
    low1, high1 = wilson(both + only_first, rows)
    low2, high2 = wilson(both + only_second, rows)
    product = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
    phi = 0.0
    if product:
        cross = both * neither - only_first * only_second
        corrected = max(cross - rows / 2, 0.0) if cross > 0 else cross  # for continuity, as method 10 has it
        phi = corrected / math.sqrt(product)

    def reach(a: float, b: float) -> float:
        return math.sqrt(max(0.0, a * a - 2 * phi * a * b + b * b))

    difference = second - first
    low = difference - reach(second - low2, high1 - first)
    high = difference + reach(high2 - second, first - low1)
    return max(-1.0, low), min(1.0, high)


def bootstrap(differences: Sequence[float], seed: int = 0) -> tuple[float, float]:
    """The 95 % percentile interval of the mean (Efron 1979); the same numbers give the same interval."""
    rows = len(differences)
    source = random.Random(seed)
    resamples = max(FEWEST, min(RESAMPLES, MOST_DRAWS // rows))
    means = sorted(math.fsum(source.choices(differences, k=rows)) / rows for _ in range(resamples))
    return means[round(0.025 * (resamples - 1))], means[round(0.975 * (resamples - 1))]
