"""``ql resume``: go on with a run from its last good point."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir, trainer_python_option


@click.command()
@click.argument("run", shell_complete=complete.runs)
@click.option("--accept-changes", is_flag=True, help="Go on although data, golden set, config or base have changed.")
@click.option("--detach", is_flag=True, help="Go on in the background; `ql runs RUN --follow` shows how it goes.")
@trainer_python_option
@runs_dir
@json_option
def command(
    run: str, accept_changes: bool, detach: bool, trainer_python: str | None, runs_dir: Path, as_json: bool
) -> None:
    """Bring RUN (a name, a path, or `latest`) to its end, from the newest complete checkpoint or the next stage.

    Exits 1 when inputs have changed or a gate is missed, 3 when the run cannot go on or fails.
    """
    from launcher.cli.launch import show_detached, show_result
    from launcher.cli.progress import make_progress
    from launcher.cli.watch import Known
    from launcher.records.run import Estimate
    from launcher.runs.detach import start_detached
    from launcher.runs.execute import is_finished
    from launcher.runs.resume import resume
    from launcher.runs.run import open_run

    found = open_run(run, runs_dir)
    if detach and not is_finished(found):
        more = ["--accept-changes"] if accept_changes else []
        more += ["--trainer-python", trainer_python] if trainer_python else []
        start_detached(found, more)
        show_detached(found, as_json)
        return
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
