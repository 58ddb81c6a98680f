"""Plain tables for the terminal; what they show is also available as JSON."""

from __future__ import annotations

import shutil
import sys
import textwrap
from collections.abc import Sequence


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


def duration(seconds: float) -> str:
    """``75`` as "1 min 15 s"; hours and minutes above an hour."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def usd(amount: float) -> str:
    """Money with as many digits as it takes to see any: ``$12.30``, ``$0.042``."""
    if amount >= 0.995 or amount == 0:
        return f"${amount:,.2f}"
    return f"${amount:.2g}" if amount >= 0.0001 else "<$0.0001"
