"""``ql report``: write a run's report again, from what its directory holds."""

from __future__ import annotations

import json
from pathlib import Path

import click

from launcher.cli.options import json_option, runs_dir


@click.command()
@click.argument("run")
@click.option("-o", "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write there instead.")
@runs_dir
@json_option
def command(run: str, out: Path | None, runs_dir: Path, as_json: bool) -> None:
    """Write report.html of RUN (a name, a path, or `latest`), finished or not, and print its path.

    With --json, what the report is made of goes to stdout as well: the run's facts and every logged step.
    """
    from launcher.errors import Unreadable
    from launcher.report.series import read_series
    from launcher.runs.events import read_events
    from launcher.runs.results.reporting import write_report
    from launcher.runs.results.summary import summarise
    from launcher.runs.run import open_run

    found = open_run(run, runs_dir)
    try:
        path = write_report(found, out)
    except OSError as error:
        raise Unreadable(f"cannot write {out or found.path / 'report.html'}: {error.strerror or error}") from None
    if as_json:
        series = read_series(read_events(found.path)).to_dict()
        click.echo(json.dumps({"report": str(path), **summarise(found).to_dict(), "series": series}, indent=2))
    else:
        click.echo(path)
