"""How well an answer fits a target. Every metric is between 0 and 1; more is better.

Text is compared after `tidy`: Unicode NFC, every run of white space one space, none at the ends. Case counts for
exact_match, contains and regex; token_f1 and rouge_l compare words, case and punctuation aside. Where a prompt has
several targets the best fit counts. A model's score is the mean over the prompts.
"""

from __future__ import annotations

import importlib.util
import re
import signal
import threading
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any

from launcher.errors import RunFailed, Unreadable, did_you_mean

Metric = Callable[[str, str], float]

_NEEDS = {"chrf": "sacrebleu"}  # metric -> module
INSTALL = "pip install 'sacrebleu>=2.5'"
PATTERN_SECONDS = 2.0  # for one pattern in one answer: some, such as (a+)+$, would be looked for without end


def tidy(text: str) -> str:
    """Unicode NFC; runs of white space become one space; none at the ends."""
    return " ".join(unicodedata.normalize("NFC", text).split())


def words(text: str) -> list[str]:
    """The words of a text in any script, case folded: runs of letters, digits and marks."""
    return re.findall(r"\w+", unicodedata.normalize("NFC", text).casefold())


def exact_match(output: str, target: str) -> float:
    """1 when both are equal after `tidy`."""
    return float(tidy(output) == tidy(target))


def contains(output: str, target: str) -> float:
    """1 when the target stands anywhere in the answer, both after `tidy`."""
    return float(tidy(target) in tidy(output))


def regex(output: str, target: str) -> float:
    """1 when the target, a regular expression of Python's `re`, is found anywhere in the answer as it was given.

    Raises TimeoutError when that is not decided within `PATTERN_SECONDS`.
    """
    with _within(PATTERN_SECONDS):
        return float(re.search(target, output) is not None)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    """Raise TimeoutError in a block that takes longer. Only in the main thread, the only one that a signal reaches."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(*_: object) -> None:
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def token_f1(output: str, target: str) -> float:
    """Harmonic mean of the shares of words that answer and target have in common, as SQuAD scores answers.

    Rajpurkar et al. 2016, section 6.1; unlike there, English articles are kept. Where one of the texts has no word,
    exact_match stands in.
    """
    ours, theirs = words(output), words(target)
    if not ours or not theirs:
        return exact_match(output, target)
    common = sum((Counter(ours) & Counter(theirs)).values())
    return 2 * common / (len(ours) + len(theirs))


def chrf(output: str, target: str) -> float:
    """chrF2 of one sentence: F-score of character 1- to 6-grams, recall weighted twice (Popović 2015), by sacrebleu."""
    score: float = _chrf().sentence_score(output, [target]).score
    return min(score / 100, 1.0)


def rouge_l(output: str, target: str) -> float:
    """F-score of the longest common subsequence of words (Lin 2004): what rouge-score calls rougeL, without stemming.

    Computed here because importing rouge-score takes nine seconds (it loads nltk and scipy), and because it drops
    every letter that is not ASCII. A test compares the two.
    """
    ours, theirs = words(output), words(target)
    if not ours or not theirs:
        return exact_match(output, target)
    lengths = [0] * (len(theirs) + 1)  # of the longest common subsequence of what was read of ours and theirs[:i]
    for word in ours:
        diagonal = 0
        for index, other in enumerate(theirs, start=1):
            above = lengths[index]
            lengths[index] = diagonal + 1 if word == other else max(above, lengths[index - 1])
            diagonal = above
    return 2 * lengths[-1] / (len(ours) + len(theirs))


METRICS: dict[str, Metric] = {
    "exact_match": exact_match,
    "contains": contains,
    "regex": regex,
    "token_f1": token_f1,
    "chrf": chrf,
    "rouge_l": rouge_l,
}


@cache
def _chrf() -> Any:
    from sacrebleu.metrics import CHRF

    return CHRF()


def choose_metrics(asked: Sequence[str] = ()) -> list[str]:
    """The metrics to score: all that are of use everywhere and can be computed here, and those asked for.

    ``regex`` is of use only where the targets are patterns, so it is scored only when it is asked for. Call this before
    a run begins. Raises Unreadable for an unknown metric, RunFailed for one asked for whose library is missing.
    """
    for name in asked:
        if name not in METRICS:
            raise Unreadable(f"no metric {name!r}", hint=did_you_mean(name, list(METRICS)))
    absent = {name for name, module in _NEEDS.items() if importlib.util.find_spec(module) is None}
    missing = sorted(absent.intersection(asked))
    if missing:
        raise RunFailed(f"the metric {missing[0]} needs a library that is not installed", hint=INSTALL)
    return [name for name in METRICS if name in asked or (name != "regex" and name not in absent)]


def check_patterns(targets: Sequence[tuple[str, int]]) -> list[tuple[int, str]]:
    """The lines of targets (text, line) that the metric regex cannot use, and why: they are no regular expressions."""
    bad = []
    for target, line in targets:
        try:
            re.compile(target)
        except (re.error, OverflowError, RecursionError) as error:
            bad.append((line, f"target is not a regular expression: {error}"))
    return bad


def score_answer(
    output: str, targets: Sequence[str], names: Sequence[str], undecided: list[str] | None = None
) -> dict[str, float]:
    """Each metric of one answer: the best fit among its targets.

    A target that a metric does not decide in time counts as missed, and is added to ``undecided``.
    """

    def score(name: str, target: str) -> float:
        try:
            return METRICS[name](output, target)
        except TimeoutError:
            if undecided is not None:
                undecided.append(target)
            return 0.0

    return {name: max(score(name, target) for target in targets) for name in names}
