"""``ql presets``: what there is, and what one of them decides."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import complete
from launcher.cli.options import Wanted, json_option, plan_options
from launcher.cli.words import examples

if TYPE_CHECKING:
    from launcher.planning.plan import Plan


@click.command(
    epilog=examples(
        "ql presets",
        "ql presets a10g-7b --set sequence_len=4096",
    )
)
@click.argument("name", required=False, shell_complete=complete.names_of("preset"))
@plan_options
@json_option
def command(
    name: str | None,
    wanted: Wanted,
    as_json: bool,
) -> None:
    """List the presets; with NAME, the plan that it makes, with the reason for each value.

    The other options change that plan as they do for `ql launch`.
    """
    if name is None and wanted.preset is None and wanted.gpu is None:
        _list(as_json)
        return
    from launcher.planning.decide import make_plan

    if None not in (name, wanted.preset) and name != wanted.preset:
        raise click.UsageError(f"{name} and --preset {wanted.preset} are two presets: give one")
    request = replace(wanted, preset=name or wanted.preset).request()
    plan = make_plan(request)
    if as_json:
        click.echo(json.dumps(plan.to_dict(), indent=2))
        return
    click.echo(f"{plan.preset or plan.gpu + ' + ' + plan.model}: {request.model.title} on {request.gpu.title}")
    licence = f"{request.model.license}, {'gated: ask for access on the hub' if request.model.gated else 'not gated'}"
    click.echo(f"base model {plan.base_model} ({licence})")
    if request.gpu.note:
        click.echo(request.gpu.note)
    click.echo()
    show_plan(plan)


def show_plan(plan: Plan) -> None:
    """Each setting with its value and reason, one line each where the terminal is wide enough."""
    from launcher.cli.text import table
    from launcher.planning.plan import SETTINGS

    rows = [(key, _short(getattr(plan, key)), plan.reasons.get(key, "")) for key in SETTINGS]
    click.echo(table(("setting", "value", "reason"), rows))


def _short(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or "none"
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _list(as_json: bool) -> None:
    from launcher.catalog import list_presets, load_gpu, load_model, load_preset

    presets = [load_preset(name) for name in list_presets()]
    if as_json:
        facts = []
        for preset in presets:
            model = load_model(preset.model)
            facts.append(
                {
                    "name": preset.name,
                    "title": preset.title,
                    "gpu": preset.gpu,
                    "model": preset.model,
                    "base_model": model.base_model,
                    "license": model.license,
                    "gated": model.gated,
                    "recipe": preset.recipe,
                    "settings": preset.settings,
                }
            )
        click.echo(json.dumps(facts, indent=2))
        return
    from launcher.cli.text import table

    rows = []
    for preset in presets:
        gpu, model = load_gpu(preset.gpu), load_model(preset.model)
        memory = f"{gpu.usable_gib:.1f} GiB" if gpu.kind == "cuda" else "-"
        rows.append((preset.name, gpu.title, memory, model.base_model, "gated" if model.gated else ""))
    click.echo(table(("preset", "card", "usable", "base model", ""), rows))
    click.echo("\n`ql presets NAME` shows what one decides, and why.", err=True)
