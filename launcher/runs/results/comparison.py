"""Gather runs for a comparison, and write it as a page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from launcher.errors import Unreadable
from launcher.files import write_atomic
from launcher.planning.plan import SETTINGS
from launcher.report.compare_html import render_comparison
from launcher.report.compared import Comparison
from launcher.report.comparison import RunFacts, compare_runs
from launcher.report.series import read_series
from launcher.runs.events import read_events
from launcher.runs.results.reporting import read_scores
from launcher.runs.results.summary import summarise
from launcher.runs.run import Run


def gather(run: Run) -> RunFacts:
    """A run as it is compared."""
    return RunFacts(summarise(run), run.record, read_series(read_events(run.path)), read_scores(run.path))


def compare(runs: Sequence[Run], html: Path | None = None) -> Comparison:
    """The facts of the comparison; written as a page to ``html`` too, where it is given.

    Raises Unreadable for fewer than two runs, or when the page cannot be written.
    """
    if len({run.path for run in runs}) < 2:
        same = f": {runs[0].path.name} alone was given, {len(runs)} times" if len(runs) > 1 else ""
        raise Unreadable(f"a comparison takes two runs or more{same}", hint="`ql runs` lists them")
    gathered = [gather(run) for run in runs]
    facts = compare_runs(gathered, SETTINGS)
    if html is not None:
        try:
            write_atomic(html, render_comparison(facts, gathered))
        except OSError as error:
            raise Unreadable(f"cannot write {html}: {error.strerror or error}") from None
    return facts
