"""The paired tests: against a reference implementation, against their own definition, and by what must hold."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.report.paired import bootstrap, compare_scores, mcnemar, newcombe, wilson

SCORES = st.lists(st.tuples(st.sampled_from([0.0, 1.0]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=80)


@given(st.integers(0, 400), st.integers(0, 400))
@settings(max_examples=examples(200))
def test_mcnemar_is_the_binomial_test_of_the_flips(better: int, worse: int) -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    flips = better + worse
    expected = scipy_stats.binomtest(better, flips, 0.5).pvalue if flips else 1.0
    assert mcnemar(better, worse) == pytest.approx(expected, rel=1e-9)


def test_mcnemar_of_many_flips_does_not_overflow() -> None:
    assert mcnemar(5000, 4800) == pytest.approx(0.0443, abs=0.001)
    assert mcnemar(50_000, 10) == 0.0
    assert mcnemar(50_000, 50_000) == 1.0


def test_wilson_against_a_published_interval() -> None:
    """Newcombe 1998 (Statistics in Medicine 17:857), table I: 81 of 263 gives 0.2553 to 0.3662."""
    low, high = wilson(81, 263)
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)


@given(SCORES)
def test_the_interval_holds_the_difference(pairs: list[tuple[float, float]]) -> None:
    found = compare_scores([a for a, _ in pairs], [b for _, b in pairs])
    assert -1 <= found.low <= found.difference + 1e-12
    assert found.difference - 1e-12 <= found.high <= 1
    assert found.better - found.worse == round(found.difference * found.rows)


@given(SCORES)
def test_exchanging_the_two_turns_the_sign(pairs: list[tuple[float, float]]) -> None:
    one = compare_scores([a for a, _ in pairs], [b for _, b in pairs])
    other = compare_scores([b for _, b in pairs], [a for a, _ in pairs])
    assert one.difference == pytest.approx(-other.difference)
    assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=1e-9)
    assert one.p_value == other.p_value


def test_no_flips_are_not_certainty() -> None:
    found = compare_scores([1.0] * 15 + [0.0] * 5, [1.0] * 15 + [0.0] * 5)
    assert found.low < 0 < found.high
    assert not found.evident
    assert found.p_value == 1.0


@pytest.mark.parametrize("shares", [(0.6, 0.1, 0.2, 0.1), (0.85, 0.02, 0.08, 0.05), (0.3, 0.2, 0.2, 0.3)])
def test_the_interval_covers_the_truth(shares: tuple[float, float, float, float]) -> None:
    """Over every outcome of 20 prompts, weighed by its probability, 95 % intervals cover at least 93 %."""
    rows, truth, covered = 20, shares[2] - shares[1], 0.0
    for a, b, c in itertools.product(range(rows + 1), repeat=3):
        d = rows - a - b - c
        if d < 0:
            continue
        counts = (a, b, c, d)
        ways = math.factorial(rows) / math.prod(math.factorial(n) for n in counts)
        probability = ways * math.prod(share**n for share, n in zip(shares, counts, strict=True))
        low, high = newcombe(a, b, c, d)
        covered += probability * (low - 1e-12 <= truth <= high + 1e-12)
    assert 0.93 <= covered <= 1.0


def test_other_scores_get_a_bootstrap_interval() -> None:
    scipy_stats = pytest.importorskip("scipy.stats")
    numpy = pytest.importorskip("numpy")
    first = [0.1 * (index % 7) for index in range(60)]
    second = [score + 0.05 * ((index * 7) % 5) for index, score in enumerate(first)]
    found = compare_scores(first, second)
    assert found.p_value is None
    differences = numpy.array([b - a for a, b in zip(first, second, strict=True)])
    reference = scipy_stats.bootstrap((differences,), numpy.mean, method="percentile", random_state=1)
    assert found.low == pytest.approx(reference.confidence_interval.low, abs=0.003)
    assert found.high == pytest.approx(reference.confidence_interval.high, abs=0.003)


def test_the_same_scores_give_the_same_interval() -> None:
    differences = [0.1, -0.2, 0.4, 0.0, 0.3]
    assert bootstrap(differences, seed=1) == bootstrap(differences, seed=1)
