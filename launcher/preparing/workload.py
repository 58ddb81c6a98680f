"""The rows of an estimate: a file that is read, or a number of rows that there will be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from launcher.data.base import find_base
from launcher.data.facts import DataFacts
from launcher.data.inspect import inspect_data
from launcher.data.read_as import AS_IT_IS, ReadAs
from launcher.data.report import DataReport
from launcher.planning.request import Request
from launcher.planning.settle import settle


def with_file(request: Request, data: Path, read_as: ReadAs = AS_IT_IS) -> tuple[Request, DataReport]:
    """``request`` for the rows of a file, read as a launch reads them, and what is to be told of them.

    Raises BadInput with every bad row.
    """
    settled = settle(request)
    report = inspect_data(
        data,
        base=find_base(request.base_model),
        chat_template=settled.chat_template,
        columns=read_as.columns,
        thoughts=read_as.thoughts,
    )
    report.require_rows()
    return replace(request, data=report.facts(settled.eval_fraction, settled.seed)), report


def with_rows(request: Request, rows: int, row_tokens: int) -> Request:
    """``request`` for so many conversations of ``row_tokens`` tokens on average."""
    fraction = settle(request).eval_fraction
    facts = DataFacts(
        rows=rows,
        eval_rows=max(1, round(rows * fraction)) if fraction and rows > 1 else 0,  # as the split does
        conversational=True,
        tokens_total=rows * row_tokens,
        tokens_mean=row_tokens,
        tokens_p95=2 * row_tokens,  # of log-normal rows as wide as instruction data is (sizing/lengths.py)
        tokens_max=4 * row_tokens,
        exact=False,
    )
    return replace(request, data=facts)
