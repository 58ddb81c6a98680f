"""What the rest of ql needs to know of a data file, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass

NEVER = 1 << 40  # tokens: beyond every sequence length
MOST_PIECES = 64  # of one text that is split: what lies beyond, both trainers cut off


@dataclass(frozen=True)
class DataFacts:
    """What planning needs to know of the data; made by `launcher.data`, never read from a file by the plan.

    ``rows`` are the usable rows of the file; ``eval_rows`` of them are held out for the evaluation loss, the others
    trained on. Lengths are in tokens of one rendered row, before any cut to a sequence length. ``exact`` is False
    when no tokenizer was at hand and they were estimated from bytes. ``quantiles`` are the lengths at equal shares of
    the rows, ascending, the last one the longest; empty where only the summary is known. ``starts`` are, likewise, how
    many tokens stand before the first trained one: a row that is cut there has nothing to train. `NEVER`: it has none.
    """

    rows: int
    eval_rows: int
    conversational: bool
    tokens_total: int
    tokens_mean: float
    tokens_p95: int
    tokens_max: int
    exact: bool
    quantiles: tuple[int, ...] = ()
    starts: tuple[int, ...] = ()
