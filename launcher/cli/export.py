"""``ql export``: the trainer's config and data in a folder, to edit by hand and to run without ql."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import Wanted, data_here, data_options, json_option, plan_options
from launcher.cli.words import examples, show_asides

if TYPE_CHECKING:
    from launcher.data.columns import Columns
    from launcher.data.read_as import Thoughts


@click.command(epilog=examples("ql export --preset a10g-7b --data my.jsonl -o mine"))
@plan_options
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    required=True,
    help="Training rows: JSON lines, JSON, CSV, Parquet, packed or not.",
)
@data_options
@click.option("-o", "--out", type=click.Path(path_type=Path), help="Folder to write; the default is the preset's name.")
@json_option
def command(
    wanted: Wanted,
    data: Path,
    columns: Columns,
    thoughts: Thoughts | None,
    out: Path | None,
    as_json: bool,
) -> None:
    """Write the trainer's config, its data and the chat template into a folder that runs under the bare trainer.

    The command that runs it stands on top of config.yaml.
    """
    from launcher.data.read_as import ReadAs
    from launcher.preparing.export import export
    from launcher.preparing.prepare import prepare
    from launcher.trainers import get_trainer

    prepared = prepare(wanted.request(), data_here(data), read_as=ReadAs.of(columns, thoughts))
    folder = out or Path(prepared.plan.preset or f"{prepared.plan.gpu}-{prepared.plan.model}")
    written = export(prepared, folder)
    if as_json:
        facts = {"folder": str(folder), "files": written, "plan": prepared.plan.to_dict()}
        said = {"warnings": prepared.report.warnings(), "notes": prepared.report.notes} if prepared.report else {}
        click.echo(json.dumps({**facts, **said}, indent=2))
        return
    for name in written:
        click.echo(folder / name)
    if prepared.report:
        show_asides(prepared.report)
    if prepared.rows.excess:
        click.echo(prepared.rows.excess, err=True)
    fault = get_trainer(prepared.plan.backend).folder_fault(str(folder.absolute()))
    if fault:
        click.echo(f"{fault}: move {folder} elsewhere before you train", err=True)
