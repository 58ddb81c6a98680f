"""``ql split``: a golden set cut out of a data file, and the rows that are left to train on."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from launcher.cli.options import data_here, json_option, map_option
from launcher.cli.words import examples
from launcher.errors import Problem, Unreadable, counted

if TYPE_CHECKING:
    from launcher.data.columns import Columns


@click.command(epilog=examples("ql split my.jsonl --golden 100", "ql split my.csv --golden 50 --label category"))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--golden", "count", type=click.IntRange(min=1), required=True, metavar="N", help="Rows to cut out.")
@click.option("--label", metavar="COLUMN", help="Keep this column's shares; the default is what looks like a label.")
@click.option("--seed", type=int, default=0, show_default=True, help="Another one chooses other rows.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for both; default: the data's.")
@click.option("--force", is_flag=True, help="Write over files that are there.")
@map_option
@json_option
def command(
    data: Path,
    count: int,
    label: str | None,
    seed: int,
    out: Path | None,
    force: bool,
    columns: Columns,
    as_json: bool,
) -> None:
    """Cut a golden set out of a data file: NAME.golden.jsonl to score with, NAME.train.jsonl to train on.

    Rows that ask the same are never in both: one is taken, the others are left out of the training rows. Where the rows
    have a label, or one of a few answers, the golden set has the same shares of them.
    """
    from launcher.data.cut import plan_cut, write_cut

    named, data = data, data_here(data)
    folder = out or (data.parent if named == data else Path())
    name = data.name.split(".")[0] or data.name
    golden, train = folder / f"{name}.golden.jsonl", folder / f"{name}.train.jsonl"
    there = [target for target in (golden, train) if target.exists()]
    if there and not force:
        raise Unreadable([Problem("is there already", str(path), hint="--force writes over it") for path in there])
    cut = plan_cut(data, count, seed=seed, columns=columns, label=label)
    folder.mkdir(parents=True, exist_ok=True)
    write_cut(data, cut, golden, train, columns)
    left = cut.rows - len(cut.golden) - len(cut.left_out)
    if as_json:
        facts = {
            "golden": str(golden),
            "train": str(train),
            "golden_rows": len(cut.golden),
            "train_rows": left,
            "left_out": len(cut.left_out),
            "label": cut.label,
            "shares": dict(cut.shares),
        }
        click.echo(json.dumps(facts, indent=2, ensure_ascii=False))
        return
    by = f", in the shares of {cut.label}" if cut.label else ""
    click.echo(f"{golden}: {counted(len(cut.golden), 'row')}{by}")
    for value, rows in cut.shares[:10]:
        click.echo(f"  {rows:>5,}  {value or '(none)'}")
    if len(cut.shares) > 10:
        click.echo(f"  and {len(cut.shares) - 10} more")
    click.echo(f"{train}: {counted(left, 'row')}")
    if cut.left_out:
        click.echo(f"{counted(len(cut.left_out), 'row')} that a golden row asks too: in neither")
    click.echo(f"next: ql check {train} --golden {golden}")
