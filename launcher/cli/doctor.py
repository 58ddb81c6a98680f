"""``ql doctor``: what this machine has for a run, and how to get what is missing."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from launcher.cli.options import json_option, trainer_python_option

if TYPE_CHECKING:
    from launcher.records.environment import Environment


@click.command()
@trainer_python_option
@json_option
def command(trainer_python: str | None, as_json: bool) -> None:
    """Show card, trainers and libraries as the trainer's python sees them. Exits 1 when no trainer can run."""
    from launcher.records.codec import encode
    from launcher.runs.preflight import examine

    facts = examine(trainer_python or sys.executable)
    if as_json:
        click.echo(json.dumps(encode(facts), indent=2))
    else:
        _print(facts)
    sys.exit(0 if facts.trainers else 1)


def _print(facts: Environment) -> None:
    from launcher.cli.text import table

    rows = [("python", f"{facts.python} ({facts.executable})")]
    rows += [(name, version or "not installed") for name, version in facts.versions.items()]
    rows += [
        (
            f"GPU {device.index}",
            f"{device.name}, {device.total_gib:.1f} GiB ({device.free_gib:.1f} free), "
            f"compute capability {device.compute_capability}",
        )
        for device in facts.devices
    ]
    if not facts.devices:
        rows.append(("GPU", "none: the preset cpu-tiny and every --dry-run work without"))
    rows.append(("memory", f"{facts.host_memory_gib:.1f} GiB, disk {facts.disk_free_gib:.1f} GiB free here"))
    click.echo(table(("what", "found"), rows))
    for advice in facts.advice:
        click.echo(f"{advice}", err=True)
