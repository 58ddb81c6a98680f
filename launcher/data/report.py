"""What is found in a data file: every problem with its line, and how long its rows are."""

from __future__ import annotations

import statistics
from array import array
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Literal

from launcher.data.facts import MOST_PIECES, NEVER, DataFacts
from launcher.data.findings import SHOWN
from launcher.data.findings import Findings as Findings
from launcher.data.findings import RowFinding as RowFinding
from launcher.data.findings import Severity as Severity
from launcher.data.findings import line_ranges as line_ranges
from launcher.data.formats import MASKED, Format
from launcher.data.rendering import ReadRows
from launcher.data.split import choose_eval
from launcher.errors import BadInput, Problem

ExcessLength = Literal["truncate", "drop", "raise"]
Fate = Literal["truncate", "drop", "raise", "split"]  # split: what trainers do to long rows of plain text
_FATES = {"truncate": "cut at the end", "drop": "left out", "raise": "refused", "split": "split into several"}


@dataclass(frozen=True)
class Lengths:
    """Row lengths in tokens. ``histogram`` counts the rows up to each length, and above the one before it."""

    exact: bool
    source: str
    total: int
    trained: int
    mean: float
    minimum: int
    median: int
    p95: int
    maximum: int
    histogram: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Excess:
    """What a sequence length does to the rows longer than it. Tokens beyond it are lost when rows are cut or dropped.

    ``untrained_rows`` would keep no trained token after the cut and are left out of the training file. Of rows that are
    split, ``tail_tokens`` of ``tail_rows`` lie beyond the pieces that a trainer makes of one text, and are lost.
    """

    sequence_len: int
    strategy: Fate
    long_rows: int
    tokens_over: int
    long_tokens: int
    untrained_rows: int
    tail_rows: int = 0
    tail_tokens: int = 0

    def describe(self, rows: int, exact: bool) -> str:
        """One sentence with the numbers, for people."""
        about = "" if exact else "about "
        head = f"{about}{self.long_rows} of {rows} rows are longer than {self.sequence_len} tokens: "
        if not self.long_rows:
            return f"no row is longer than {self.sequence_len} tokens" + ("" if exact else " (estimated)")
        if self.strategy == "drop":
            return head + f"they are left out, {self.long_tokens} tokens in all"
        if self.strategy == "raise":
            return head + "they are refused"
        if self.strategy == "split":
            lost = "nothing is lost"
            if self.tail_rows:
                beyond = f"what lies beyond {MOST_PIECES} pieces is lost, {self.tail_tokens} tokens in all"
                lost = f"of {self.tail_rows} of them {beyond}"
            return head + f"they are split into several, and {lost}"
        text = head + f"they are cut at the end, {self.tokens_over} tokens in all"
        if self.untrained_rows:
            text += f"; {self.untrained_rows} of them would keep no trained token and are left out"
        return text


@dataclass
class Rows:
    """What is kept of each usable row, in the order of the file: some 41 bytes a row."""

    digests: array[int] = field(default_factory=lambda: array("Q"))
    keys: array[int] = field(default_factory=lambda: array("B"))  # as `optional_keys` gives them
    lines: array[int] = field(default_factory=lambda: array("Q"))
    totals: array[int] = field(default_factory=lambda: array("L"))
    trained: array[int] = field(default_factory=lambda: array("L"))
    first_trained: array[int] = field(default_factory=lambda: array("l"))  # -1: none

    def only(self, indices: Sequence[int]) -> Rows:
        """The rows at these indices."""
        columns = (getattr(self, column.name) for column in fields(self))
        return Rows(*(array(column.typecode, (column[index] for index in indices)) for column in columns))


@dataclass(frozen=True)
class DataReport:
    """A data file, inspected. ``rows`` are usable; ``lines_read`` counts the unusable too.

    ``reading`` reads it again as it was read; None where it is of no known format.
    """

    path: Path
    sha256: str
    format: Format | None
    lines_read: int
    findings: Findings
    notes: tuple[str, ...]
    rows: Rows
    lengths: Lengths | None
    excess: Excess | None
    reading: ReadRows | None = None
    template_settings: Mapping[str, object] = field(default_factory=dict)  # with which a prompt begins as the rows do
    thought_tokens: int = 0  # of the longest thought before an answer, about; 0 where none is trained

    @property
    def row_count(self) -> int:
        return len(self.rows.lines)

    @property
    def ok(self) -> bool:
        return self.findings.count("error") == 0

    @property
    def conversational(self) -> bool:
        return self.format != "text"

    @property
    def masked(self) -> bool:
        """Whether a usable row has a turn of the assistant that is not trained."""
        return any(keys & MASKED for keys in self.rows.keys)

    def warnings(self) -> list[str]:
        """What may be wrong with the rows, a line for each kind; the `notes` are what is to be known beside.

        They go out with a model, so the file is named without its folders.

        Rows that are longer than a sequence length are not among them: `Excess.describe` tells of these.
        """
        first: dict[str, RowFinding] = {}
        for finding in self.findings.kept:
            if finding.severity == "warning" and finding.kind != "long":
                first.setdefault(finding.kind, finding)
        found = []
        for kind, finding in first.items():
            count = self.findings.counts["warning", kind]
            lines = line_ranges(self.findings.lines.get(("warning", kind), ()))
            found.append(
                f"{finding.problem(Path(self.path.name))}" + (f"; {count} such (lines {lines})" if count > 1 else "")
            )
        return found

    def problems(self, severity: Severity = "error") -> list[Problem]:
        """The findings of one severity, as problems: what all rows have once, of a kind the first."""
        found = [finding.problem(self.path) for finding in self.findings.told(severity, self.lines_read)]
        for kind, _, left in self.findings.untold(severity, self.lines_read):
            lines = line_ranges(self.findings.lines.get((severity, kind), ()))
            found.append(Problem(f"and {left:,} more of the kind {kind} (lines {lines})", file=str(self.path)))
        return found

    def require_rows(self) -> None:
        """Raises BadInput with every error, when there is one."""
        if not self.ok:
            raise BadInput(self.problems("error"))

    def eval_split(self, fraction: float, seed: int) -> frozenset[int]:
        """Indices of the usable rows that are held out."""
        return choose_eval(self.rows.digests, fraction, seed)

    def split(self, fraction: float, seed: int) -> tuple[list[int], list[int]]:
        """Indices of the usable rows that are kept: those that are trained on, and those that are held out."""
        kept = self.kept()
        held_out = {kept[position] for position in self.with_rows(kept).eval_split(fraction, seed)}
        return [index for index in kept if index not in held_out], [index for index in kept if index in held_out]

    def facts(self, eval_fraction: float = 0.0, seed: int = 0) -> DataFacts:
        """What planning needs, of the rows that are kept; ``eval_rows`` are those that fraction and seed hold out."""
        used = self.with_rows(self.kept())
        lengths = used.lengths
        return DataFacts(
            rows=used.row_count,
            eval_rows=len(used.eval_split(eval_fraction, seed)),
            conversational=self.conversational,
            tokens_total=lengths.total if lengths else 0,
            tokens_mean=lengths.mean if lengths else 0.0,
            tokens_p95=lengths.p95 if lengths else 0,
            tokens_max=lengths.maximum if lengths else 0,
            exact=lengths.exact if lengths else False,
            quantiles=_quantiles(used.rows.totals),
            starts=_quantiles([NEVER if first < 0 else first for first in used.rows.first_trained]),
        )

    def limited(self, sequence_len: int, strategy: ExcessLength) -> DataReport:
        """The same report, with what this sequence length does to the rows; nothing is read again."""
        assert self.excess is None
        fate: Fate = strategy if self.conversational else "split"  # trainers split long texts, whatever is asked
        long = [total for total in self.rows.totals if total > sequence_len]
        most = MOST_PIECES * sequence_len
        tails = [total - most for total in long if fate == "split" and total > most]
        excess = Excess(
            sequence_len=sequence_len,
            strategy=fate,
            long_rows=len(long),
            tokens_over=sum(long) - sequence_len * len(long),
            long_tokens=sum(long),
            untrained_rows=sum(first < 0 or first >= sequence_len for first in self.rows.first_trained),
            tail_rows=len(tails),
            tail_tokens=sum(tails),
        )
        report = replace(self, excess=excess, findings=self.findings.copy())
        about = "" if self.lengths and self.lengths.exact else "about "
        for line, total in zip(self.rows.lines, self.rows.totals, strict=True):
            if total > sequence_len:
                message = f"{about}{total} tokens, more than the sequence length {sequence_len}: {_FATES[fate]}"
                if fate == "split" and total > most:
                    message += f"; {about}{total - most} lie beyond the {MOST_PIECES} that are made, and are lost"
                report.findings.add("long", "error" if fate == "raise" else "warning", line, message)
        if report.ok and not report.kept():
            message = f"no row is left to train on with the sequence length {sequence_len}"
            report.findings.add("too_long", "error", None, message)
        return report

    def kept(self) -> list[int]:
        """Indices of the usable rows that are trained on or evaluated with; all of them while lengths are estimates.

        A sequence length leaves out the long rows with ``drop``, and with ``truncate`` those that would keep no
        trained token.
        """
        rows, excess = self.rows, self.excess
        if excess is None or excess.strategy == "split" or self.lengths is None or not self.lengths.exact:
            return list(range(self.row_count))
        limit, drop = excess.sequence_len, excess.strategy == "drop"
        return [
            index
            for index, (total, first) in enumerate(zip(rows.totals, rows.first_trained, strict=True))
            if 0 <= first < limit and not (drop and total > limit)
        ]

    def with_rows(self, indices: Sequence[int]) -> DataReport:
        """The same report, as if the file had only these usable rows."""
        rows = self.rows.only(indices)
        lengths = summarise(rows, self.lengths.exact, self.lengths.source) if self.lengths else None
        return replace(self, rows=rows, lengths=lengths)

    def to_dict(self, most: int | None = SHOWN) -> dict[str, object]:
        """The report as JSON-ready data; per row only what was found, ``most`` of a kind."""
        severities: tuple[Severity, ...] = ("error", "warning")
        told = [finding for item in severities for finding in self.findings.told(item, self.lines_read, most)]
        return {
            "path": str(self.path),
            "sha256": self.sha256,
            "format": self.format,
            "lines_read": self.lines_read,
            "rows": self.row_count,
            "ok": self.ok,
            "errors": self.findings.number("error", self.lines_read),
            "warnings": self.findings.number("warning", self.lines_read),
            "counts": {kind: count for (_, kind), count in sorted(self.findings.counts.items())},
            "findings": [finding.to_dict() for finding in sorted(told, key=lambda item: item.line or 0)],
            "notes": list(self.notes),
            "lengths": asdict(self.lengths) if self.lengths else None,
            "excess": asdict(self.excess) if self.excess else None,
        }


def summarise(rows: Rows, exact: bool, source: str) -> Lengths | None:
    """The summary of all row lengths; None without rows. Percentiles are of the sorted lengths, nearest rank."""
    if not rows.totals:
        return None
    ordered = sorted(rows.totals)
    total = sum(ordered)
    return Lengths(
        exact=exact,
        source=source,
        total=total,
        trained=sum(rows.trained),
        mean=total / len(ordered),
        minimum=ordered[0],
        median=int(statistics.median_low(ordered)),
        p95=ordered[max(0, -(-len(ordered) * 95 // 100) - 1)],
        maximum=ordered[-1],
        histogram=_histogram(ordered),
    )


def _quantiles(totals: Sequence[int], shares: int = 200) -> tuple[int, ...]:
    """The lengths at ``shares`` equal shares of the rows (nearest rank), or all of them where there are fewer rows."""
    ordered = sorted(totals)
    if len(ordered) <= shares:
        return tuple(ordered)
    return tuple(ordered[-(-len(ordered) * share // shares) - 1] for share in range(1, shares + 1))


def _histogram(ordered: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Rows by powers of two: (64, 3) counts those of 33 to 64 tokens."""
    bins = Counter(1 << max(0, length - 1).bit_length() for length in ordered)
    upper, out = min(bins), []
    while upper <= max(bins):
        out.append((upper, bins[upper]))
        upper *= 2
    return tuple(out)


def even_histogram(totals: Iterable[int], most: int = 32) -> list[tuple[int, int]]:
    """Rows by bins of one width, a power of two: (24, 3) counts those of 17 to 24 tokens where the width is 8.

    From the first bin that holds a row to the last, at most ``most`` of them: what a chart of the lengths shows.
    """
    counted = Counter(totals)
    if not counted:
        return []
    shortest, longest = min(counted), max(counted)
    width = 1
    while -(-longest // width) - -(-shortest // width) + 1 > most:
        width *= 2
    bins: Counter[int] = Counter()
    for length, rows in counted.items():
        bins[-(-length // width)] += rows
    return [(index * width, bins[index]) for index in range(min(bins), max(bins) + 1)]
