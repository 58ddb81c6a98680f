"""What the rest of ql needs to know of a data file, as plain numbers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataFacts:
    """What planning needs to know of the data; made by `launcher.data`, never read from a file by the plan.

    Lengths are in tokens of one rendered row. ``exact`` is False when no tokenizer was at hand and they
    were estimated from bytes.
    """

    rows: int
    eval_rows: int
    conversational: bool
    tokens_total: int
    tokens_mean: float
    tokens_p95: int
    tokens_max: int
    exact: bool
