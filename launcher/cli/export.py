"""``ql export``: the trainer's config and data in a folder, to edit by hand and to run without ql."""

from __future__ import annotations

import json
from pathlib import Path

import click

from launcher.cli.options import json_option, person_settings, plan_options


@click.command()
@plan_options
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Training rows, JSONL.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to write; the default is the preset's name.")
@json_option
def command(
    preset: str | None,
    gpu: str | None,
    model: str | None,
    method: str | None,
    backend: str | None,
    compute_dtype: str | None,
    settings: tuple[str, ...],
    max_steps: int | None,
    data: Path,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write the trainer's config, its data and the chat template into a folder that runs under the bare trainer.

    The command that runs it stands on top of config.yaml.
    """
    from launcher.planning.request import make_request
    from launcher.runs.export import export
    from launcher.runs.prepare import prepare

    request = make_request(
        preset=preset,
        gpu=gpu,
        model=model,
        method=method,
        backend=backend,
        settings=person_settings(settings, compute_dtype, max_steps),
    )
    prepared = prepare(request, data)
    folder = out or Path(prepared.plan.preset or f"{prepared.plan.gpu}-{prepared.plan.model}")
    written = export(prepared, folder)
    if as_json:
        click.echo(json.dumps({"folder": str(folder), "files": written, "plan": prepared.plan.to_dict()}, indent=2))
        return
    for name in written:
        click.echo(folder / name)
    if prepared.excess:
        click.echo(prepared.excess, err=True)
