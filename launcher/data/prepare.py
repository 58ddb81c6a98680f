"""Write the files a trainer reads: every usable row in one format, with a held-out part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from launcher.data.facts import DataFacts
from launcher.data.formats import row_line
from launcher.data.inspect import DEFAULT_TEMPLATE, inspect_data
from launcher.data.opening import sha256_of
from launcher.data.report import DataReport, ExcessLength, even_histogram
from launcher.errors import RunFailed
from launcher.files import replacing, sha256_file

TRAIN_FILE = "data/train.jsonl"
EVAL_FILE = "data/eval.jsonl"


@dataclass(frozen=True)
class PreparedData:
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

    def to_dict(self) -> dict[str, object]:
        """JSON-ready, for a run's manifest."""
        excess, lengths = self.report.excess, self.report.lengths
        return {
            "input": str(self.report.path),
            "input_sha256": self.report.sha256,
            "format": self.report.format,
            "train_rows": self.train_rows,
            "eval_rows": self.eval_rows,
            "left_out": self.left_out,
            "excess": excess.describe(self.report.row_count, self.facts.exact) if excess else None,
            "cut": asdict(excess) if excess else None,
            "lengths": lengths and {**asdict(lengths), "histogram": even_histogram(self.report.rows.totals)},
            "sha256": self.sha256,
        }


def prepare_data(
    path: Path,
    out_dir: Path,
    *,
    eval_fraction: float,
    seed: int,
    sequence_len: int,
    excess_length: ExcessLength = "truncate",
    chat_template: str = DEFAULT_TEMPLATE,
    base: Path | None = None,
    golden: Path | None = None,
    allow_overlap: bool = False,
    report: DataReport | None = None,
) -> PreparedData:
    """Inspect ``path`` and write ``out_dir``/data/train.jsonl and, where rows are held out, data/eval.jsonl.

    Rows keep the order of the file, but for those that carry keys no earlier row has: they come first, because the
    trainers take the columns of a file from its beginning. Rows are left out only where their exact length is known:
    with ``drop`` the long ones, with ``truncate`` those that would keep no trained token. Each file is complete or
    absent. ``report`` saves the inspection where the caller has made it with the same settings; where rows are longer
    than ``sequence_len`` it must be `DataReport.limited` to it. Raises BadInput with every bad row, Unreadable, and
    RunFailed when the folder cannot be written or the data is no longer what was inspected.
    """
    if report is None:
        report = inspect_data(
            path,
            base=base,
            chat_template=chat_template,
            sequence_len=sequence_len,
            excess_length=excess_length,
            golden=golden,
            allow_overlap=allow_overlap,
        )
    elif sha256_of(path) != report.sha256:
        raise _changed(path)
    report.require_rows()
    kept = report.kept()
    chosen = report.with_rows(kept)
    held_out = {kept[position] for position in chosen.eval_split(eval_fraction, seed)}
    parts = {TRAIN_FILE: [i for i in kept if i not in held_out], EVAL_FILE: [i for i in kept if i in held_out]}
    try:
        (out_dir / "data").mkdir(parents=True, exist_ok=True)
        (out_dir / EVAL_FILE).unlink(missing_ok=True)
        _write(report, {out_dir / name: rows for name, rows in parts.items() if rows})
    except OSError as error:
        raise RunFailed(f"{out_dir}: cannot be written: {error.strerror or error}") from error
    return PreparedData(
        report=report,
        facts=chosen.facts(eval_fraction, seed),
        train_file=out_dir / TRAIN_FILE,
        eval_file=out_dir / EVAL_FILE if held_out else None,
        train_rows=len(parts[TRAIN_FILE]),
        eval_rows=len(held_out),
        left_out=report.row_count - len(kept),
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


def _write(report: DataReport, files: dict[Path, list[int]]) -> None:
    """Write each file's rows, leaders first; all files are put in place together at the end."""
    leaders = {path: _leaders(report, rows) for path, rows in files.items()}
    place = {index: path for path, rows in files.items() for index in rows}
    with ExitStack() as stack:
        streams = {path: stack.enter_context(replacing(path)) for path in files}
        first = {index: path for path, rows in leaders.items() for index in rows}
        for index, text in _texts(report, max(first, default=-1) + 1):
            if index in first:
                streams[first[index]].write(text)
        for index, text in _texts(report, report.row_count):
            if index in place and index not in first:
                streams[place[index]].write(text)


def _texts(report: DataReport, count: int) -> Iterator[tuple[int, str]]:
    """The first ``count`` usable rows as lines, by index. Raises RunFailed when the file is not the one inspected."""
    if not count:
        return
    assert report.reading is not None
    index = -1
    for index, (line, row) in enumerate(report.reading.rows()):
        if index >= report.row_count or line != report.rows.lines[index]:
            break
        yield index, row_line(row) + "\n"
        if index + 1 == count:
            return
    raise _changed(report.path)


def _changed(path: Path) -> RunFailed:
    return RunFailed(f"{path}: changed while it was read", hint="start again once nothing writes to it")
