"""What is found in a data file, counted as it comes, and told so that a person can read it."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from launcher.errors import Problem

Severity = Literal["error", "warning"]
KEPT_FINDINGS = 10_000  # texts that are kept; what lies beyond is counted
SHOWN = 20  # of one kind that are shown, where not all are asked for
_TEXTS = 1_000  # different ones that are counted, to know one that all rows share


@dataclass(frozen=True)
class RowFinding:
    """One thing about one row (``line`` from 1) or the whole file (None). An error makes a row unusable."""

    kind: str
    severity: Severity
    line: int | None
    message: str
    where: str = ""  # which of the rows that share the line

    def problem(self, path: Path) -> Problem:
        return Problem(self.where + self.message, file=str(path), line=self.line)

    def to_dict(self) -> dict[str, object]:
        return {"kind": self.kind, "severity": self.severity, "line": self.line, "message": self.where + self.message}


class Findings:
    """Findings as they come: the first KEPT_FINDINGS with their texts, all of them counted and their lines kept."""

    def __init__(self) -> None:
        self.kept: list[RowFinding] = []
        self.counts: Counter[tuple[Severity, str]] = Counter()
        self.lines: dict[tuple[Severity, str], array[int]] = {}
        self._faults: dict[_Fault, _Shared] = {}
        self._row = 0
        self._where = ""

    def next_row(self, where: str = "") -> None:
        """What is added from here on is of another row than what came before; ``where``: see `RowFinding`."""
        self._row += 1
        self._where = where

    def add(self, kind: str, severity: Severity, line: int | None, message: str) -> None:
        self.counts[severity, kind] += 1
        if line is not None:
            self.lines.setdefault((severity, kind), array("Q")).append(line)
        if len(self.kept) < KEPT_FINDINGS or self.counts[severity, kind] <= SHOWN:
            self.kept.append(RowFinding(kind, severity, line, message, self._where if line is not None else ""))
        fault = _fault(severity, kind, message)
        shared = self._faults.get(fault)
        if shared is not None:
            shared.findings += 1
            shared.rows += shared.last != self._row
            shared.last = self._row
            shared.varies = shared.varies or message != shared.message
        elif len(self._faults) < _TEXTS:
            self._faults[fault] = _Shared(message, self._row)

    def copy(self) -> Findings:
        return deepcopy(self)

    def count(self, severity: Severity) -> int:
        return sum(count for (found, _), count in self.counts.items() if found == severity)

    def told(self, severity: Severity, rows: int, most: int | None = SHOWN) -> list[RowFinding]:
        """The findings of a severity, in a file of ``rows``: what every row has once, of the others ``most`` a kind."""
        shared = self._shared(severity, rows)
        shown: Counter[str] = Counter()
        out, said = [], set()
        for finding in self.kept:
            fault = _fault(severity, finding.kind, finding.message)
            if finding.severity != severity or fault in said:
                continue
            if fault in shared:
                said.add(fault)
                like = ", as here" if shared[fault].varies else ""
                out.append(replace(finding, message=f"in each of its {rows:,} rows{like}: {finding.message}"))
            elif most is None or shown[finding.kind] < most:
                shown[finding.kind] += 1
                out.append(finding)
        return out

    def number(self, severity: Severity, rows: int) -> int:
        """How many there are, one that every row has counted once."""
        return self.count(severity) - sum(found.findings - 1 for found in self._shared(severity, rows).values())

    def untold(self, severity: Severity, rows: int) -> Iterator[tuple[str, int, int]]:
        """Each kind of which `told` leaves some out: its name, how many there are, and how many are left out."""
        told = Counter(finding.kind for finding in self.told(severity, rows))
        spared: Counter[str] = Counter()
        for (_, kind, _), fault in self._shared(severity, rows).items():
            spared[kind] += fault.findings - 1
        for (found, kind), count in sorted(self.counts.items()):
            left = count - spared[kind] - told[kind]
            if found == severity and left > 0:
                yield kind, count, left

    def _shared(self, severity: Severity, rows: int) -> dict[_Fault, _Shared]:
        """What every one of several rows has."""
        return {key: found for key, found in self._faults.items() if key[0] == severity and found.rows == rows > 1}


_Fault = tuple[Severity, str, str]
_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|\d[\d,.]*')


@dataclass
class _Shared:
    """A fault that rows share: its first text, the last row that has it, how many do, and whether its values vary."""

    message: str
    last: int
    rows: int = 1
    findings: int = 1
    varies: bool = False


def _fault(severity: Severity, kind: str, message: str) -> _Fault:
    """What is the same in the findings of one fault: its text without the values of the row."""
    return severity, kind, _VALUE.sub("", message)


def line_ranges(lines: Iterable[int], most: int = 30) -> str:
    """Line numbers for people: ``3, 7-9, 12``, with an ellipsis after ``most`` ranges."""
    ranges: list[list[int]] = []
    for line in sorted(set(lines)):
        if ranges and line == ranges[-1][1] + 1:
            ranges[-1][1] = line
        elif len(ranges) == most:
            return ", ".join(_span(*pair) for pair in ranges) + ", …"
        else:
            ranges.append([line, line])
    return ", ".join(_span(*pair) for pair in ranges)


def _span(first: int, last: int) -> str:
    return str(first) if first == last else f"{first}-{last}"
