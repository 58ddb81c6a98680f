"""``ql resume``: go on with a run from its last good point."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli import complete
from launcher.cli.options import HERE, json_option, place_options, runs_dir, trainer_python_option

if TYPE_CHECKING:
    from launcher.runs.run import Run


@click.command()
@click.argument("run", shell_complete=complete.runs)
@click.option("--accept-changes", is_flag=True, help="Go on although data, golden set, config or base have changed.")
@place_options
@trainer_python_option
@runs_dir
@json_option
def command(
    run: str, accept_changes: bool, place: str, trainer_python: str | None, runs_dir: Path, as_json: bool
) -> None:
    """Bring RUN (a name, a path, or `latest`) to its end, from the newest complete checkpoint or the next stage.

    Exits 1 when inputs have changed or a gate is missed, 3 when the run cannot go on or fails.
    """
    from launcher.cli.launch import show_submitted
    from launcher.records.run import Estimate
    from launcher.runs.execute import is_finished
    from launcher.runs.run import open_run

    found = open_run(run, runs_dir)
    if place != HERE and not is_finished(found):
        from launcher.places import Submission, Wants, get_place, submit

        words = ["--accept-changes"] if accept_changes else []
        words += ["--trainer-python", trainer_python] if trainer_python else []
        estimate = found.record.estimate or Estimate()
        wants = Wants(found.plan["gpu"], estimate.peak_gib, estimate.hours)
        submit(get_place(place), Submission(found.path, wants, (*words, "--again")))
        show_submitted(found, as_json)
        return
    go_on(found, accept_changes=accept_changes, trainer_python=trainer_python, as_json=as_json)


def go_on(found: Run, *, accept_changes: bool, trainer_python: str | None, as_json: bool) -> None:
    """Resume it here and show what came of it; exits 1 where a gate was missed, 130 for Ctrl-C."""
    from launcher.cli.launch import show_result
    from launcher.cli.progress import make_progress
    from launcher.cli.watch import Known
    from launcher.records.run import Estimate
    from launcher.runs.resume import resume

    progress = make_progress(Known(plan=found.plan, estimate=found.record.estimate or Estimate()))
    try:
        found = resume(found, progress, accept_changes=accept_changes, trainer_python=trainer_python)
    except KeyboardInterrupt:
        progress.note("stopped by Ctrl-C; `ql resume` goes on from the last checkpoint")
        sys.exit(130)
    finally:
        progress.close()
    show_result(found, as_json)
    if any(not gate.passed for gate in found.record.gates):
        sys.exit(1)
