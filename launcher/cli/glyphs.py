"""Small curves and bars made of characters, for terminals that have block elements and for those that do not."""

from __future__ import annotations

from collections.abc import Sequence

from launcher.report.series import sample

BLOCKS = "▁▂▃▄▅▆▇█"
ASCII = "_.-~=*#"


def spark(values: Sequence[float], width: int, *, ascii_only: bool = False) -> str:
    """The curve of ``values`` in at most ``width`` characters, from its lowest to its highest value."""
    shown = sample(values, width)
    if not shown:
        return ""
    marks = ASCII if ascii_only else BLOCKS
    low, high = min(shown), max(shown)
    if high == low:
        return marks[0] * len(shown)
    return "".join(marks[round((value - low) / (high - low) * (len(marks) - 1))] for value in shown)


def bar(share: float, width: int, *, marks: Sequence[float] = (), ascii_only: bool = False) -> str:
    """``share`` of ``width`` characters filled; ``marks`` are shares of 1 that get a tick, such as quarter epochs."""
    full, empty, tick = ("#", ".", "|") if ascii_only else ("━", "─", "┼")
    filled = round(min(max(share, 0.0), 1.0) * width)
    cells = [full] * filled + [empty] * (width - filled)
    for mark in marks:
        place = round(mark * width)
        if 0 < place < width:
            cells[place] = tick
    return "".join(cells)
