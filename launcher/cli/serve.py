"""``ql serve``: the vLLM commands for the merged checkpoint and for the adapters."""

from __future__ import annotations

import json
import os
import shlex
import shutil
from pathlib import Path

import click

from launcher.cli import complete
from launcher.cli.options import json_option, runs_dir
from launcher.cli.words import examples


@click.command(
    epilog=examples(
        "ql serve latest --print",
        "ql serve latest --adapter",
    )
)
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", shell_complete=complete.runs)
@click.option("--print", "only_print", is_flag=True, help="Print the commands instead of starting vLLM.")
@click.option("--adapter", is_flag=True, help="Serve the adapters on their base instead of the merged checkpoint.")
@runs_dir
@json_option
def command(runs: tuple[str, ...], only_print: bool, adapter: bool, runs_dir: Path, as_json: bool) -> None:
    """Serve RUN with vLLM: merged/ as one checkpoint, or adapter/ on its base.

    Several RUNs of one base are served as several adapters on it. --print alone shows both commands of a RUN.
    """
    from launcher.errors import RunFailed
    from launcher.runs.results.serving import serving_commands
    from launcher.runs.run import open_run

    commands = serving_commands([open_run(name, runs_dir) for name in runs], adapter_only=adapter)
    if as_json:
        click.echo(json.dumps(commands, indent=2))
        return
    if only_print:
        for title, argv in commands.items():
            click.echo(f"# {title}\n{shlex.join(argv)}\n")
        return
    wanted = "adapter" if adapter or len(runs) > 1 else "merged"
    if wanted not in commands:
        raise RunFailed(f"this run has no {wanted}/", hint="`ql merge RUN` makes merged/")
    executable = shutil.which("vllm")
    if executable is None:
        raise RunFailed(
            "vllm is not installed here", hint="`ql serve RUN --print` shows the command to run where it is"
        )
    os.execv(executable, commands[wanted])
