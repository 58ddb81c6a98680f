"""What a shell offers for a name that is half typed: presets, cards, models, settings, runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click
from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]


def names_of(kind: str) -> Complete:
    """Completes names of the catalog: ``kind`` is preset, gpu or model."""

    def items(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        from launcher import catalog

        return _matching(getattr(catalog, f"list_{kind}s")(), incomplete)

    return items


def settings(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes the key of ``--set KEY=VALUE``."""
    from launcher.planning.plan import SETTINGS

    return _matching([f"{name}=" for name in SETTINGS], incomplete)


def runs(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Completes names of runs, the newest first."""
    from launcher.runs.run import list_runs

    parent = Path(ctx.params.get("runs_dir") or "runs")
    found = [run.path.name for run in reversed(list_runs(parent))]
    return _matching(["latest", *found] if found else [], incomplete)


def places(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from launcher.places import place_names

    return _matching(place_names(), incomplete)


def _matching(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]
