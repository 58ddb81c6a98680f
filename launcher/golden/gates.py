"""Gates: conditions on golden scores that a run must meet, such as ``exact_match>=0.8`` or ``chrf>=base+0.1``.

A gate is ``[SUBJECT.]METRIC OPERATOR BOUND``. The bound is a number between 0 and 1, or a subject (base, adapter,
merged) with an optional ``+NUMBER`` or ``-NUMBER``, and means that subject's score in the same metric. A gate that
names no subject looks at merged where merged was scored, else at adapter: at what would be served.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from launcher.errors import Problem, Unreadable, did_you_mean
from launcher.golden.metrics import METRICS
from launcher.records.run import SUBJECTS, GateResult

# Scores are means of ratios: 0.9 - 0.01 must not miss 0.89 by a rounding error.
TOLERANCE = 1e-9
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": lambda value, bound: value >= bound - TOLERANCE,
    "<=": lambda value, bound: value <= bound + TOLERANCE,
    ">": lambda value, bound: value > bound + TOLERANCE,
    "<": lambda value, bound: value < bound - TOLERANCE,
    "==": lambda value, bound: abs(value - bound) <= TOLERANCE,
}
_NUMBER = r"(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?(?!\w)"
Scores = Mapping[str, Mapping[str, float]]  # subject -> metric -> mean over the prompts


@dataclass(frozen=True)
class Gate:
    """A parsed gate. The bound is ``bound_subject``'s score plus ``offset``, or ``offset`` alone."""

    text: str
    metric: str
    comparison: str
    offset: float
    subject: str | None = None
    bound_subject: str | None = None

    @property
    def subjects(self) -> set[str]:
        """The subjects that must be scored for this gate whatever else is."""
        return {subject for subject in (self.subject, self.bound_subject) if subject}


class _Parser:
    """Takes a gate apart from left to right; ``position`` counts characters from 0."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def take(self, pattern: str) -> str | None:
        """The text that ``pattern`` matches here, white space around it passed over; None when it does not match."""
        found = re.compile(rf"\s*({pattern})\s*").match(self.text, self.position)
        if found is None:
            return None
        self.position = found.end()
        return found[1]

    def fail(self, message: str, hint: str, position: int | None = None) -> Unreadable:
        column = (self.position if position is None else position) + 1
        return Unreadable(Problem(f"--gate {self.text!r}, character {column}: {message}", hint=hint))


_EXAMPLES = 'such as "exact_match>=0.8", "exact_match>=base" or "merged.chrf>=adapter-0.01"'


def parse_gate(text: str) -> Gate:
    """A gate from its text. Raises Unreadable naming the character at which it goes wrong."""
    parser = _Parser(text)
    start = parser.position
    name = parser.take(r"[A-Za-z_]\w*")
    if name is None:
        raise parser.fail("a metric is expected", f"{_EXAMPLES}; metrics: {', '.join(METRICS)}")
    subject = None
    if parser.take(r"\."):
        if name not in SUBJECTS:
            raise parser.fail(f"no subject {name!r}", did_you_mean(name, SUBJECTS), start)
        subject, start = name, parser.position
        name = parser.take(r"[A-Za-z_]\w*") or ""
    if name not in METRICS:
        raise parser.fail(f"no metric {name!r}", did_you_mean(name, list(METRICS)), start)
    comparison = parser.take("[<>]=?|==")
    if comparison is None:
        raise parser.fail("a comparison is expected", f"one of {' '.join(_COMPARE)}, {_EXAMPLES}")
    start = parser.position
    bound_subject = parser.take(r"[A-Za-z_]\w*")
    if bound_subject is not None and bound_subject not in SUBJECTS:
        raise parser.fail(f"no subject {bound_subject!r}", did_you_mean(bound_subject, SUBJECTS), start)
    sign = parser.take("[+-]") if bound_subject else None
    offset = 0.0
    if sign or not bound_subject:
        start = parser.position
        number = parser.take(_NUMBER)
        if number is None:
            raise parser.fail("a number is expected", "scores run from 0 to 1" if sign else _EXAMPLES)
        offset = float(number)
        if offset > 1:
            raise parser.fail(f"{number} is more than any score", "scores run from 0 to 1", start)
    if parser.position != len(text):
        raise parser.fail(f"{text[parser.position :]!r} is too much", _EXAMPLES)
    return Gate(text.strip(), name, comparison, -offset if sign == "-" else offset, subject, bound_subject)


def parse_gates(texts: Sequence[str]) -> list[Gate]:
    """All gates; raises Unreadable with everything that is wrong with any of them."""
    gates, problems = [], []
    for text in texts:
        try:
            gates.append(parse_gate(text))
        except Unreadable as error:
            problems += error.problems
    if problems:
        raise Unreadable(problems)
    return gates


def judge(gates: Sequence[Gate], scores: Scores) -> list[GateResult]:
    """What each gate finds in the scores."""
    return [_judge(gate, scores) for gate in gates]


def _judge(gate: Gate, scores: Scores) -> GateResult:
    subject = gate.subject or ("merged" if "merged" in scores else "adapter")
    value = scores.get(subject, {}).get(gate.metric)
    bound: float | None = gate.offset
    if gate.bound_subject:
        other = scores.get(gate.bound_subject, {}).get(gate.metric)
        bound = None if other is None else other + gate.offset
    if value is None or bound is None:
        absent = subject if value is None else gate.bound_subject
        passed, reason = False, f"{absent} was not scored in {gate.metric}"
    else:
        passed = _COMPARE[gate.comparison](value, bound)
        verb = "meets" if passed else "misses"
        reason = f"{subject} {gate.metric} {value:.4g} {verb} {gate.comparison} {bound:.4g}"
    return GateResult(gate=gate.text, passed=passed, subject=subject, value=value, bound=bound, reason=reason)
