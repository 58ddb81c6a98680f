"""``ql calibrate``: hold the estimate to this machine."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from launcher.cli.options import Wanted, json_option, plan_options, trainer_python_option
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.records.events import Event
    from launcher.runs.calibrate import Calibration

DEFAULT_MODEL = "mistral-7b"
NOTHING = Wanted(compute_dtype=None, pairs=(), max_steps=None)


@click.command(
    epilog=examples(
        "ql calibrate --preset a10g-7b",
        "ql calibrate --forget",
    )
)
@plan_options
@trainer_python_option
@click.option("--forget", is_flag=True, help="Drop what was measured here before; with --gpu, of that card alone.")
@json_option
def command(
    wanted: Wanted,
    trainer_python: str | None,
    forget: bool,
    as_json: bool,
) -> None:
    """Train a few steps of a plan on this machine's card, and correct every later estimate for it by what is measured.

    The card is this machine's own, and the trainer the real one: minutes for a 7B. Without --preset and --model the
    plan is for a 7B, or on a CPU for the built-in tiny model. The correction is of one card and one trainer.
    """
    from launcher.catalog import load_gpu
    from launcher.errors import Unreadable
    from launcher.runs.calibrate import calibrate, card_of_this_machine
    from launcher.runs.preflight import examine

    if forget:
        from launcher.preparing.calibrations import calibration_file, forget_corrections

        if wanted != replace(NOTHING, gpu=wanted.gpu):
            raise Unreadable("--forget drops all corrections of a card, or of all: it goes with --gpu alone")
        count = forget_corrections(load_gpu(wanted.gpu) if wanted.gpu else None)
        facts = {"forgotten": count, "stored_in": str(calibration_file())}
        click.echo(json.dumps(facts, indent=2) if as_json else f"forgotten: {count}")
        return
    if wanted.settings().get("max_steps") is not None:
        raise Unreadable("a calibration has its own number of steps: leave max_steps out")
    python = trainer_python or sys.executable
    environment = examine(python)
    if wanted.preset is None:
        card = card_of_this_machine(environment) if wanted.gpu is None else load_gpu(wanted.gpu)
        model = wanted.model or ("cpu-tiny" if card.kind == "cpu" else DEFAULT_MODEL)
        preset = "cpu-tiny" if card.kind == "cpu" and model == "cpu-tiny" else None
        wanted = replace(wanted, preset=preset, gpu=card.name, model=model)
    found = calibrate(wanted.request(), environment, python, _say)
    click.echo(json.dumps(found.to_dict(), indent=2) if as_json else _describe(found))
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


def _say(event: Event) -> None:
    if event.get("event") == "log":
        rate = event.get("tokens_per_second")
        click.echo(f"  step {event['step']}" + (f": {rate:,.0f} tokens/s" if rate else ""), err=True)


def _describe(found: Calibration) -> str:
    from launcher.cli.text import table

    plan = found.plan
    head = (
        f"{plan.model}, {plan.method} with {plan.backend} on {found.correction.device}: "
        f"{plan.micro_batch_size} rows of {plan.sequence_len} tokens, {plan.compute_dtype}"
    )
    names = {"reserved_gib": "reserved, GiB", "device_gib": "device, GiB", "tokens_per_second": "tokens/s"}
    rows = []
    for key, name in names.items():
        before, measured, after = (side[key] for side in (found.before, found.measured, found.after))
        if measured is not None:
            rows.append((name, _number(before), _number(measured), _error(before, measured), _number(after)))
    lines = [head, "", table(("", "predicted", "measured", "error", "predicted from now on"), rows), ""]
    lines.append(f"estimates for {found.gpu.name} with {plan.backend} are {found.correction.describe()}")
    lines.append(f"kept in {found.path}; `ql calibrate --forget` drops it")
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return "not predicted" if value is None else f"{value:,.2f}" if value < 1000 else f"{value:,.0f}"


def _error(predicted: float | None, measured: float) -> str:
    return "" if predicted is None else f"{predicted / measured - 1:+.1%}"
