"""``ql launch``: the main job, from a preset and a data file to a scored and merged model."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

import click

from launcher.cli.options import (
    HERE,
    Amount,
    Wanted,
    data_here,
    data_options,
    json_option,
    place_options,
    plan_options,
    repair_options,
    runs_dir,
    trainer_python_option,
)
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.data.columns import Columns
    from launcher.data.read_as import Thoughts
    from launcher.preparing.prepared import Prepared
    from launcher.runs.launch import LaunchOptions
    from launcher.runs.run import Run


@click.command(
    epilog=examples(
        "ql launch job.yaml",
        "ql launch --preset a10g-7b --data my.jsonl --dry-run",
        'ql launch --preset a10g-7b --data my.jsonl --golden golden.jsonl --gate "exact_match>=base"',
        "ql launch --gpu a10g --model llama-3.1-8b --data my.jsonl --set learning_rate=1e-4 --set num_epochs=2",
    )
)
@click.argument("job", required=False, type=click.Path(path_type=Path), metavar="[JOB.yaml]")
@partial(plan_options, methods=("qlora", "lora", "auto", "both"))
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Training rows: JSON lines, JSON, CSV, Parquet, packed or not; needed where no job names them.",
)
@click.option(
    "--config",
    type=click.Path(path_type=Path),
    help="A trainer's config that you edited: checked, and trained as it is, on its own data or on --data.",
)
@data_options
@click.option("--golden", type=click.Path(path_type=Path), help="Golden set, JSONL: prompts with right answers.")
@click.option("--gate", "gates", multiple=True, metavar="EXPR", help='Such as "exact_match>=0.8"; repeatable.')
@click.option("--allow-overlap", is_flag=True, help="Accept golden prompts that are also training rows.")
@click.option("--keep", type=click.Choice(["best", "last"]), help="Checkpoint that ships; the default is best.")
@click.option(
    "--base",
    "base_mode",
    type=click.Choice(["dequantized", "original"]),
    help="What the adapter is merged into: the 4-bit base it was trained on, in 16 bit (the default); or the original "
    "weights.",
)
@click.option("--no-merge", is_flag=True, help="Stop after the golden set: ship the adapter alone.")
@click.option("--no-cap", is_flag=True, help="Let the trainer use all of a card larger than the planned one.")
@click.option(
    "--track",
    type=click.Choice(["wandb", "mlflow", "tensorboard", "trackio"]),
    multiple=True,
    help="Log to this tracker as well, in tracking/ of the run; repeatable.",
)
@trainer_python_option
@click.option("--out", type=click.Path(path_type=Path), help="The run's directory, instead of one under --runs-dir.")
@click.option(
    "--price", type=Amount(min=0), metavar="USD", help="What an hour of the card costs; else its known price."
)
@click.option("--dry-run", is_flag=True, help="Everything up to the trainer: plan, config, estimate. Needs no GPU.")
@place_options
@repair_options
@runs_dir
@json_option
def command(
    job: Path | None,
    wanted: Wanted,
    data: Path | None,
    config: Path | None,
    columns: Columns,
    thoughts: Thoughts | None,
    golden: Path | None,
    gates: tuple[str, ...],
    allow_overlap: bool,
    keep: str | None,
    base_mode: str | None,
    no_merge: bool,
    no_cap: bool,
    track: tuple[str, ...],
    trainer_python: str | None,
    out: Path | None,
    price: float | None,
    dry_run: bool,
    place: str,
    no_repair: tuple[str, ...],
    allow_shorter: bool,
    stall_after: float,
    stop_within: float,
    runs_dir: Path,
    as_json: bool,
) -> None:
    """Plan, check, train, score and merge, in one run directory.

    JOB.yaml says it all in a file (`ql init` writes one); an option that is given wins over the file.

    Exits 1 when the data, the fit or a gate is bad, 3 when the run cannot start or fails.
    """
    from launcher.data.read_as import ReadAs
    from launcher.preparing.asked import Asked
    from launcher.preparing.job_file import JobFile, read_job
    from launcher.preparing.names import Names
    from launcher.preparing.prepare import prepare_asked
    from launcher.preparing.prepared import require_scored
    from launcher.records.run import RepairPolicy
    from launcher.runs import launch as runs
    from launcher.runs.preflight import card_here

    given = wanted.settings(keep=keep)  # first: after a `--set key` without its `=value`, the value would be a job
    written = read_job(job) if job is not None else JobFile()
    # A file has method and backend in two places, as a name and as a setting: what is given here wins over both.
    named = wanted.names()
    chosen = {key: value for key, value in written.settings.items() if named.get(key) is None} | given
    in_file = written.names()
    others = replace(Names(**in_file), **dict.fromkeys(given.keys() & in_file.keys()))
    python = trainer_python or written.trainer_python or sys.executable
    data, golden = data or written.data, golden or written.golden
    data = None if data is None else data_here(data, python)
    if data is None and config is None:
        raise click.UsageError("give --data FILE.jsonl, a job file (`ql init` writes one), or --config EDITED.yaml")
    if data is None and (columns or thoughts):
        said = "--map and --thoughts say how --data is read: the files that a config names are trained as they are"
        raise click.UsageError(said)
    asked = Asked(
        **wanted.names_or(others),
        data=str(data) if data else None,
        config=str(config) if config else None,
        settings=chosen,
        golden=str(golden) if golden else None,
        gates=tuple(gates or written.gates),
        allow_overlap=allow_overlap or written.allow_overlap,
        read_as=ReadAs.of(columns or written.map, thoughts or written.thoughts),
    )
    options = runs.LaunchOptions(
        runs_dir=runs_dir,
        out=out,
        trainer_python=python,
        base_mode=base_mode or written.base_mode or "dequantized",
        merge=written.merge and not no_merge,
        cap=written.cap and not no_cap,
        track=track or written.track,
        policy=RepairPolicy(
            off=frozenset(no_repair),
            allow_shorter=allow_shorter,
            stall_seconds=stall_after,
            stop_seconds=stop_within,
        ),
        asked=asked,
    )
    if asked.method == "both":
        from launcher.cli.both import run_both

        run_both(asked, options, place, usd_per_hour=price, dry_run=dry_run, as_json=as_json)
        return
    prepared = prepare_asked(asked, partial(card_here, python), usd_per_hour=price, merge=options.merge)
    require_scored(prepared.gates, merge=options.merge)
    if dry_run:
        _show_dry_run(prepared, as_json)
    else:
        _run(prepared, options, place, as_json)


def _run(prepared: Prepared, options: LaunchOptions, place: str, as_json: bool) -> None:
    """Launch it at ``place`` and show what came of it; exits 1 where a gate was missed."""
    from launcher.cli.progress import make_progress
    from launcher.cli.watch import Known
    from launcher.places import Submission, Wants, get_place, submit
    from launcher.runs.launch import carry_out, create

    progress = make_progress(Known(plan=prepared.plan.to_dict(), estimate=prepared.estimate))
    try:
        target = get_place(place)
        run = create(prepared, options, progress, target.grace_seconds)
        wants = Wants(prepared.plan.gpu, prepared.memory.needed_gib, prepared.estimate.hours)
        submit(target, Submission(run.path, wants, here=lambda: carry_out(run, progress, prepared)))
    except KeyboardInterrupt:
        progress.note("stopped by Ctrl-C; `ql resume` goes on from the last checkpoint")
        sys.exit(130)
    finally:
        progress.close()
    if place != HERE:
        show_submitted(run, as_json)
        return
    show_result(run, as_json)
    if any(not gate.passed for gate in run.record.gates):
        sys.exit(1)


def show_submitted(run: Run, as_json: bool) -> None:
    """Where a run is that goes on in the background, and how to watch it."""
    if as_json:
        click.echo(json.dumps({"name": run.path.name, "path": str(run.path)}, indent=2))
        return
    click.echo(run.path)
    click.echo(f"it goes on by itself; `ql runs {quote(str(run.path))} --follow` shows how", err=True)


def _show_dry_run(prepared: Prepared, as_json: bool) -> None:
    from launcher.cli.presets import show_plan
    from launcher.runs.launch import dry_run, notes_of, warnings_of

    if as_json:
        click.echo(json.dumps(dry_run(prepared), indent=2))
        return
    show_plan(prepared.plan)
    click.echo(f"\n--- config.yaml\n{prepared.files['config.yaml']}")
    memory = prepared.memory
    fitting = f" of {memory.budget_gib:.1f} GiB" if memory.budget_gib is not None else ""
    click.echo(f"estimate: {memory.needed_gib:.1f} GiB{fitting} on {prepared.gpu.title}")
    for finding in prepared.findings:
        if finding.severity != "warning" or not prepared.warnings:  # those are among the warnings, with their place
            place = f"{finding.file}:{finding.line}"
            click.echo(f"{finding.severity}: {place}: {finding.message} [{finding.code}]", err=True)
    for warning in warnings_of(prepared):
        click.echo(f"warning: {warning}", err=True)
    for note in notes_of(prepared):
        click.echo(f"note: {note}", err=True)


def show_result(run: Run, as_json: bool) -> None:
    """The summary of a finished run on stdout, and where its report is on stderr."""
    from launcher.cli.runs import describe
    from launcher.runs.results.summary import summarise

    facts = summarise(run)
    click.echo(json.dumps(facts.to_dict(), indent=2) if as_json else describe(facts))
    if not as_json:
        click.echo(f"report: {run.path / 'report.html'}", err=True)
