"""A thinned recording shows what the whole one shows: after each of its pictures the screen is the same."""

from __future__ import annotations

import io
import re

from hypothesis import given
from hypothesis import strategies as st
from record_live import Writes, thinned
from rich.console import Console
from rich.live import Live
from rich.text import Text


class Terminal(io.StringIO):
    """Writes, one a second."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: Writes = []

    def write(self, text: str) -> int:
        self.writes.append((float(len(self.writes)), text))
        return len(text)


def screen(texts: list[str]) -> list[str]:
    """The lines of a terminal without end, for the sequences that the live view writes."""
    lines, at = [""], 0
    for piece in re.findall(r"\x1b\[\??[0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", "".join(texts)):
        if piece == "\n":
            at += 1
            lines += [""] * (at + 1 - len(lines))
        elif piece == "\x1b[1A":
            at -= 1
        elif piece == "\x1b[2K":
            lines[at] = ""
        elif piece[0] not in "\r\x1b":
            lines[at] += piece
    return lines


@given(st.lists(st.tuples(st.integers(1, 3), st.booleans()), max_size=12))
def test_what_is_left_out_is_drawn_over(pictures: list[tuple[int, bool]]) -> None:
    terminal = Terminal()
    console = Console(file=terminal, force_terminal=True, width=40, height=20, color_system=None)
    with Live(console=console, auto_refresh=False) as live:
        for number, (height, said) in enumerate(pictures):
            if said:
                console.print(f"stays {number}")
            live.update(Text("\n".join(f"picture {number}, line {line}" for line in range(height))), refresh=True)
    every = terminal.writes
    kept = thinned(every, 3.0)
    assert screen([text for _, text in kept]) == screen([text for _, text in every])
    for index, (at, _) in enumerate(kept[1:], 1):
        before = screen([text for when, text in every if when < at])
        assert [line for line in screen([text for _, text in kept[:index]]) if "stays" in line] == [
            line for line in before if "stays" in line
        ]


def test_pictures_of_one_height_go_and_the_last_stays() -> None:
    writes = [(0.0, "a\nb"), *((index / 4, f"\r\x1b[2K\x1b[1A\x1b[2K{index}\nb") for index in range(1, 9))]
    kept = thinned(writes, 1.0)
    assert [at for at, _ in kept] == [0.0, 1.0, 2.0]
    assert kept[-1] == writes[-1]
