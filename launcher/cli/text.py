"""Plain tables for the terminal; what they show is also available as JSON."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence

from launcher.report.words import duration as duration
from launcher.report.words import usd as usd


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns aligned to the left, the last one wrapped to the terminal; unwrapped when piped."""
    widths = [max(len(row[column]) for row in (header, *rows)) for column in range(len(header) - 1)]
    indent = sum(widths) + 2 * len(widths)
    columns = shutil.get_terminal_size((120, 24)).columns if sys.stdout.isatty() else 10_000
    room = max(columns - indent, 30)
    lines = []
    for row in (header, *rows):
        first, *rest = textwrap.wrap(row[-1], room) or [""]
        cells = "".join(f"{cell:<{width}}  " for cell, width in zip(row[:-1], widths, strict=True))
        lines.append((cells + first).rstrip())
        lines += [" " * indent + line for line in rest]
    return "\n".join(lines)
