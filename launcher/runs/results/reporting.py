"""report.html of a run: the facts of its manifest, its telemetry and its golden answers, gathered for the page."""

from __future__ import annotations

from pathlib import Path

from launcher.errors import BadInput
from launcher.files import read_json_lines, write_atomic
from launcher.planning.plan import SETTINGS
from launcher.processes.secrets import redact_all
from launcher.records.codec import decode, encode
from launcher.records.run import SUBJECTS, Manifest
from launcher.report.html import render_report
from launcher.report.prompts import Scored
from launcher.report.series import read_series
from launcher.runs.events import read_events
from launcher.runs.results.serving import serving_commands
from launcher.runs.results.summary import summarise
from launcher.runs.run import Run, as_written


def write_report(run: Run, path: Path | None = None) -> Path:
    """Render the report to ``path``, or to report.html in the run's folder; its path."""
    series = read_series(read_events(run.path))
    run = Run(run.path, decode(Manifest, redact_all(encode(run.record))))  # as run.json has it, in the stage report too
    with as_written(run):
        try:
            commands = serving_commands([run])
        except BadInput:
            commands = {}
        page = render_report(summarise(run), run.record, SETTINGS, commands, series, read_scores(run.path))
    path = path or run.path / "report.html"
    write_atomic(path, page)
    return path


def read_scores(folder: Path) -> dict[str, list[Scored]]:
    """Each prompt with its answer and scores, by the model that gave it; a file that cannot be read is left out."""
    found = {}
    for subject in SUBJECTS:
        path = folder / "golden" / "scores" / f"{subject}.jsonl"
        try:
            found[subject] = read_json_lines(path)
        except (OSError, ValueError):
            continue
    return found
