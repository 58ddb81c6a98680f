"""Write the files a trainer reads: every usable row in one format, with a held-out part."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from tempfile import TemporaryFile
from typing import TextIO

from launcher.data.facts import DataFacts
from launcher.data.formats import row_line
from launcher.data.opening import sha256_of
from launcher.data.report import DataReport, Lengths, even_histogram
from launcher.errors import RunFailed
from launcher.files import replacing, sha256_file
from launcher.records.run import DataRecord, RecordedLengths

TRAIN_FILE = "data/train.jsonl"
EVAL_FILE = "data/eval.jsonl"


@dataclass(frozen=True)
class WrittenData:
    """The files written, by path, rows and SHA-256; ``left_out`` rows of the input are in neither.

    ``facts`` count the rows that are in the files. ``eval_file`` is None where nothing is held out.
    """

    report: DataReport
    facts: DataFacts
    train_file: Path
    eval_file: Path | None
    train_rows: int
    eval_rows: int
    left_out: int
    sha256: dict[str, str]

    def record(self, given: Path) -> DataRecord:
        """What a run's manifest says of the rows, of which ``given`` is the file that the person gave."""
        report, excess, lengths = self.report, self.report.excess, self.report.lengths
        return DataRecord(
            path=str(given.resolve()),
            sha256=self.sha256,
            input=str(report.path),
            input_sha256=report.sha256,
            format=report.format,
            train_rows=self.train_rows,
            eval_rows=self.eval_rows,
            left_out=self.left_out,
            excess=excess.describe(report.row_count, self.facts.exact) if excess else None,
            cut=asdict(excess) if excess else None,
            lengths=None if lengths is None else _recorded(lengths, even_histogram(report.rows.totals)),
            template_settings=dict(report.template_settings),
            thought_tokens=report.thought_tokens,
        )


def _recorded(lengths: Lengths, bins: list[tuple[int, int]]) -> RecordedLengths:
    """The lengths as a manifest has them, with ``bins`` that a chart can show."""
    values = {item.name: getattr(lengths, item.name) for item in fields(lengths)}
    return RecordedLengths(**(values | {"histogram": bins}))


def write_data(report: DataReport, out_dir: Path, *, eval_fraction: float, seed: int) -> WrittenData:
    """Write the rows of ``report`` to ``out_dir``/data/train.jsonl and, where rows are held out, data/eval.jsonl.

    Where rows are longer than the sequence length, the report must be `DataReport.limited` to it. Rows keep the order
    of the file, but for those that carry keys no earlier row has: they come first, because the trainers take the
    columns of a file from its beginning. Rows are left out only where their exact length is known: with ``drop`` the
    long ones, with ``truncate`` those that would keep no trained token. Each file is complete or absent.

    The rows are read once. Raises BadInput with every bad row, and RunFailed when the folder cannot be written or the
    data is no longer what was inspected.
    """
    if sha256_of(report.path) != report.sha256:
        raise _changed(report.path)
    report.require_rows()
    train, held_out = report.split(eval_fraction, seed)
    parts = {TRAIN_FILE: train, EVAL_FILE: held_out}
    try:
        (out_dir / "data").mkdir(parents=True, exist_ok=True)
        (out_dir / EVAL_FILE).unlink(missing_ok=True)
        _write(report, {out_dir / name: rows for name, rows in parts.items() if rows})
    except OSError as error:
        raise RunFailed(f"{out_dir}: cannot be written: {error.strerror or error}") from error
    return WrittenData(
        report=report,
        facts=report.facts(eval_fraction, seed),
        train_file=out_dir / TRAIN_FILE,
        eval_file=out_dir / EVAL_FILE if held_out else None,
        train_rows=len(train),
        eval_rows=len(held_out),
        left_out=report.row_count - len(train) - len(held_out),
        sha256={name: sha256_file(out_dir / name) for name, rows in parts.items() if rows},
    )


def _leaders(report: DataReport, chosen: Sequence[int]) -> list[int]:
    """Those of the chosen rows that have keys none before them has, if a first row with all keys is missing."""
    seen, leaders = 0, []
    for index in chosen:
        keys = report.rows.keys[index]
        if keys & ~seen:
            seen |= keys
            leaders.append(index)
    return leaders


class _LeadersFirst:
    """Lines written to a file in their order, but for a few that come before all others.

    What comes before the last leader is held in a file of its own meanwhile: a leader may be the last row of many.
    """

    def __init__(self, stream: TextIO, held: TextIO, leaders: Sequence[int]) -> None:
        self.stream, self.held = stream, held
        self.leaders, self.last = frozenset(leaders), max(leaders, default=-1)

    def put(self, index: int, text: str) -> None:
        leads = index in self.leaders
        (self.stream if leads or index > self.last else self.held).write(text)
        if index == self.last:
            self.held.seek(0)
            shutil.copyfileobj(self.held, self.stream)


def _write(report: DataReport, files: dict[Path, list[int]]) -> None:
    """Write each file's rows, leaders first; all files are put in place together at the end."""
    with ExitStack() as stack:
        place = {}
        for path, rows in files.items():
            held = stack.enter_context(TemporaryFile("w+", encoding="utf-8", newline="\n", dir=path.parent))
            lines = _LeadersFirst(stack.enter_context(replacing(path)), held, _leaders(report, rows))
            place.update(dict.fromkeys(rows, lines))
        for index, text in _texts(report):
            if index in place:
                place[index].put(index, text)


def _texts(report: DataReport) -> Iterator[tuple[int, str]]:
    """The usable rows as lines, by index. Raises RunFailed when the file is not the one inspected."""
    assert report.reading is not None
    count = 0
    for index, (line, row) in enumerate(report.reading.rows()):
        count = index + 1
        if count > report.row_count or line != report.rows.lines[index]:
            raise _changed(report.path)
        yield index, row_line(row) + "\n"
    if count != report.row_count:
        raise _changed(report.path)


def _changed(path: Path) -> RunFailed:
    return RunFailed(f"{path}: changed while it was read", hint="start again once nothing writes to it")
