"""``ql start``: the one line that a place runs, as often as it likes."""

from __future__ import annotations

from pathlib import Path

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir, trainer_python_option
from launcher.cli.words import examples


@click.command(epilog=examples("ql start runs/a10g-7b-20261124-143812", "ql start jobs/tickets"))
@click.argument("run", shell_complete=complete.runs)
@click.option("--accept-changes", is_flag=True, help="Resume although data, golden set, config or base have changed.")
@click.option("--again", is_flag=True, help="Resume even though the last five starts made no progress.")
@trainer_python_option
@runs_dir
@json_option
def command(
    run: str, accept_changes: bool, again: bool, trainer_python: str | None, runs_dir: Path, as_json: bool
) -> None:
    """Resume RUN, or launch the job.yaml in its folder where there is no run yet.

    A finished run is left as it is, so a scheduler, a reboot or a person may call this at any time. After five starts
    in a row without progress the run fails, with the reason in run.json.

    Exits 1 when the data, the fit or a gate is bad and 3 when the run cannot go on or fails: starting it again would
    not help. Start it again after 143, or when the machine was lost.
    """
    from launcher.cli.launch import command as launch
    from launcher.cli.resume import go_on
    from launcher.runs.run import JOB, MANIFEST, open_run
    from launcher.runs.start import counted_launch, find_folder, require_progress

    folder = find_folder(run, runs_dir)
    if (folder / MANIFEST).is_file():
        found = open_run(folder)
        if not again:
            require_progress(found)
        go_on(found, accept_changes=accept_changes, trainer_python=trainer_python, as_json=as_json)
        return
    words = [str(folder / JOB), "--out", str(folder)]
    words += ["--trainer-python", trainer_python] if trainer_python else []
    words += ["--json"] if as_json else []
    with counted_launch(folder):
        launch.main(words, standalone_mode=False)
