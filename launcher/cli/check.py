"""``ql check``: every bad row of a data file, with its line number, and how long the rows are."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import data_here, data_options, json_option
from launcher.cli.words import VERDICT, examples
from launcher.errors import BadInput, Problem

if TYPE_CHECKING:
    from launcher.data.columns import Columns
    from launcher.data.rendering import Thoughts
    from launcher.data.report import DataReport, Lengths, Severity

SHOWN = 20  # of a kind, shown with their text; beyond that, a line list for each kind


@click.command(
    epilog=examples(
        "ql check my.jsonl --golden golden.jsonl",
        "ql check my.jsonl --model mistral-7b --seq-len 2048 --show 2",
    )
)
@click.argument("data", type=click.Path(path_type=Path))
@click.option(
    "--golden", type=click.Path(path_type=Path), help="Golden set, checked too: rows that ask the same are errors."
)
@click.option("--allow-overlap", is_flag=True, help="Rows that are in the golden set too are warnings only.")
@click.option("--show", type=click.IntRange(min=0), default=0, metavar="N", help="Print N rows as the model sees them.")
@click.option("--seq-len", type=click.IntRange(min=16), help="Say what this sequence length (in tokens) would cut.")
@data_options
@click.option("--all", "everything", is_flag=True, help="Print every finding, not the first 20 of a kind.")
@click.option("--model", metavar="NAME", help="Base model, for its tokenizer and template: catalog name or folder.")
@click.option("--chat-template", metavar="NAME", help="Default: the model's; without a model chatml.")
@json_option
def command(
    data: Path,
    golden: Path | None,
    allow_overlap: bool,
    show: int,
    seq_len: int | None,
    model: str | None,
    chat_template: str | None,
    columns: Columns,
    thoughts: Thoughts | None,
    everything: bool,
    as_json: bool,
) -> None:
    """Check a data file: every bad row with its line number, and a summary of the token lengths.

    Reads alpaca, OpenAI messages, sharegpt, prompt/completion and text, as JSON lines, JSON, CSV, TSV, Parquet or the
    folder of a data set, packed or not. Exits 1 when a row is unusable. Lengths are exact where the model's tokenizer
    is on this machine, else estimated from bytes.
    """
    from launcher.data.inspect import DEFAULT_TEMPLATE, inspect_data

    data = data_here(data)
    base = None
    if model is not None:
        from launcher.catalog import load_model, resolve_base
        from launcher.data.base import find_base

        found = load_model(model)
        base = find_base(resolve_base(found))
        chat_template = chat_template or found.chat_template
    template = chat_template or DEFAULT_TEMPLATE
    report = inspect_data(
        data,
        base=base,
        chat_template=template,
        sequence_len=seq_len,
        golden=golden,
        allow_overlap=allow_overlap,
        columns=columns,
        thoughts=thoughts or "train",
    )
    bad_golden, repeated, noted = _golden_problems(golden, report, columns) if golden is not None else ([], [], ())
    ok = report.ok and not bad_golden
    click.get_current_context().meta[VERDICT] = int(not ok)
    if as_json:
        said = {
            "golden_problems": [problem.to_dict() for problem in bad_golden],
            "golden_warnings": [problem.to_dict() for problem in repeated],
            "golden_notes": list(noted),
        }
        click.echo(json.dumps({**report.to_dict(None if everything else SHOWN), "ok": ok, **said}, indent=2))
    else:
        for problem in bad_golden[: None if everything else SHOWN]:
            click.echo(f"error: {problem}")
        if len(bad_golden) > SHOWN and not everything:
            click.echo(f"error: {golden}: {len(bad_golden) - SHOWN} more")
        for problem in repeated[:SHOWN]:
            click.echo(f"warning: {problem}")
        if len(repeated) > SHOWN:
            click.echo(f"warning: {golden}: {len(repeated) - SHOWN} more prompts stand twice")
        for note in noted:
            click.echo(f"note: {note}")
        _print(report, None if everything else SHOWN)
        if show:
            from launcher.cli.show_rows import show_rows

            show_rows(report, show, base)
    if not ok:
        sys.exit(1)


def _golden_problems(
    golden: Path, report: DataReport, columns: Columns
) -> tuple[list[Problem], list[Problem], tuple[str, ...]]:
    """What is wrong with the golden set itself, what is warned of and what noted."""
    from launcher.golden.rows import find_repeats, read_golden, unread_notes

    try:
        rows = read_golden(golden, conversational=report.conversational, columns=columns, most=None)
    except BadInput as error:
        return error.problems, [], ()
    repeats = [Problem(str(repeat), file=str(golden), line=repeat.line) for repeat in find_repeats(rows)]
    return [], repeats, unread_notes(rows, golden)


def _print(report: DataReport, most: int | None) -> None:
    from launcher.data.report import line_ranges

    findings, rows = report.findings, report.lines_read
    severities: tuple[Severity, ...] = ("error", "warning")
    for severity in severities:
        for finding in findings.told(severity, rows, most):
            click.echo(f"{severity}: {finding.problem(report.path)}")
        left = list(findings.untold(severity, rows)) if most is not None else []
        if left:
            click.echo(f"{severity}s by kind:")
        for kind, count, _ in left:
            ranges = 1000 if severity == "error" else 30  # every unusable row is named, whatever their number
            click.echo(f"  {kind}: {count} (lines {line_ranges(findings.lines.get((severity, kind), ()), ranges)})")
    errors, warnings = findings.number("error", rows), findings.number("warning", rows)
    for note in report.notes:
        click.echo(f"note: {note}")
    if errors or warnings or report.notes:
        click.echo()
    usable = f"{report.row_count} usable row" + ("s" if report.row_count != 1 else "")
    click.echo(f"{report.path}: {report.format or 'unknown format'}, {usable}", nl=False)
    click.echo(f" of {report.lines_read}, {_count(errors, 'error')}, {_count(warnings, 'warning')}")
    if report.lengths:
        _print_lengths(report.lengths)
    if report.excess and report.lengths:
        click.echo(report.excess.describe(report.row_count, report.lengths.exact))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _print_lengths(lengths: Lengths) -> None:
    how = f"exact, by {lengths.source}" if lengths.exact else f"{lengths.source}; no tokenizer at hand"
    click.echo(
        f"tokens a row ({how}): min {lengths.minimum}, median {lengths.median}, "
        f"p95 {lengths.p95}, max {lengths.maximum}"
    )
    click.echo(f"tokens in all: {lengths.total}, of which trained {lengths.trained}")
    most = max(count for _, count in lengths.histogram)
    width = len(str(lengths.histogram[-1][0]))
    for upper, count in lengths.histogram:
        bar = "#" * max(round(40 * count / most), 1 if count else 0)
        click.echo(f"  up to {upper:>{width}}  {bar:<40} {count}")
