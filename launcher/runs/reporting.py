"""report.html of a run: the facts of its manifest, its telemetry and its golden answers, gathered for the page."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import BadInput
from launcher.files import write_atomic
from launcher.planning.plan import SETTINGS
from launcher.report.html import render_report
from launcher.runs.events import read_events
from launcher.runs.run import Run
from launcher.runs.serving import serving_commands
from launcher.runs.summary import summarise


def write_report(run: Run, path: Path | None = None) -> Path:
    """Render the report to ``path``, or to report.html in the run's folder; its path."""
    try:
        commands = serving_commands([run])
    except BadInput:
        commands = {}
    losses = [event for event in read_events(run.path) if event.get("event") == "eval"]
    page = render_report(summarise(run), run.data, SETTINGS, commands, losses)
    path = path or run.path / "report.html"
    write_atomic(path, page)
    return path
