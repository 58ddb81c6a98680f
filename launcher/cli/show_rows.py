"""Rows as the model sees them, with the trained part set off: in colour on a terminal, else between marks."""

from __future__ import annotations

import os
import sys
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Sequence

    from launcher.data.chat import Span
    from launcher.data.report import DataReport

OPEN, CLOSE = "⟦", "⟧"  # around what is trained, where there is no colour


def show_rows(report: DataReport, count: int, base: Path | None) -> None:
    """Print the first ``count`` usable rows; every token set off is trained, all others are masked from the loss."""
    from launcher.data.chat import CannotRender
    from launcher.data.tokens import Tokenizing, measure_for

    if report.reading is None:
        return
    renderer = report.reading.renderer
    measure = measure_for(base, renderer.template)
    for line, row in islice(report.reading.rows(), count):
        try:
            rendered = renderer.render(row)
        except CannotRender:
            continue  # reported as an error of this line
        spans: Sequence[Span] = rendered.spans
        if isinstance(measure, Tokenizing):
            spans = measure.trained_text(rendered)
        pieces: list[tuple[str, bool]] = []
        position = 0
        for start, end in spans:
            pieces += [(rendered.text[position:start], False), (rendered.text[start:end], True)]
            position = end
        pieces.append((rendered.text[position:], False))
        if isinstance(measure, Tokenizing):
            before, behind = measure.frame(rendered)
            pieces = [(before + rendered.text + behind, True)] if before or behind else pieces
        length = measure.lengths([rendered])[0]
        about = "" if measure.exact else "about "
        click.echo(f"\nline {line}: {about}{length.total} tokens, {length.trained} trained")
        _print(pieces)


def _printable(text: str) -> str:
    """What this terminal can show: no escape codes out of somebody's data, no character it cannot encode."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.replace("\x1b", "␛").encode(encoding, "replace").decode(encoding)


def _print(pieces: list[tuple[str, bool]]) -> None:
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        click.echo(_printable("".join(f"{OPEN}{text}{CLOSE}" if trained else text for text, trained in pieces)))
        return
    from rich.console import Console
    from rich.text import Text

    text = Text()
    for piece, trained in pieces:
        text.append(_printable(piece), style="bold black on green" if trained else "dim")
    Console(soft_wrap=True).print(text)
