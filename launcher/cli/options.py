"""Options that several verbs share, with what completes them in a shell."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import complete
from launcher.planning.names import Names

if TYPE_CHECKING:
    from launcher.planning.request import Request

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


@dataclass(frozen=True, kw_only=True)
class Wanted(Names):
    """What `plan_options` were given: the run that a person wants planned. None, or nothing: not given."""

    compute_dtype: str | None
    pairs: tuple[str, ...]  # --set KEY=VALUE, as typed
    max_steps: int | None

    def settings(self) -> dict[str, Any]:
        """``--set`` pairs and the flags that are short for one, as one dict; raises Unreadable for bad pairs."""
        from launcher.planning.request import parse_settings

        parsed = parse_settings(self.pairs)
        if self.compute_dtype is not None:
            parsed["compute_dtype"] = self.compute_dtype
        if self.max_steps is not None:
            parsed["max_steps"] = self.max_steps
        return parsed

    def request(self, more: Mapping[str, Any] | None = None, *, architecture: str | None = None) -> Request:
        """The names looked up, with ``more`` settings; raises what `make_request` raises, and for bad pairs."""
        return self.look_up(self.settings() | dict(more or {}), architecture=architecture)


def plan_options(
    function: Callable[..., Any], *, methods: tuple[str, ...] = ("qlora", "lora", "auto")
) -> Callable[..., Any]:
    """What names a run to plan: preset, or card and model; method, trainer, and single values.

    The verb gets them as one argument, ``wanted``.
    """
    decorators: list[Decorator] = [
        click.option(
            "--preset", metavar="NAME", shell_complete=complete.names_of("preset"), help="A named preset: `ql presets`."
        ),
        click.option("--gpu", metavar="NAME", shell_complete=complete.names_of("gpu"), help="Card to plan for."),
        click.option(
            "--model",
            metavar="NAME",
            shell_complete=complete.names_of("model"),
            help="Base model: catalog name, hub name or folder.",
        ),
        click.option(
            "--method",
            type=click.Choice(methods),
            help="auto: lora where it fits, else qlora."
            + (" both: one run of each, compared." if "both" in methods else ""),
        ),
        click.option(
            "--backend",
            type=click.Choice(["axolotl", "unsloth", "auto"]),
            help="Trainer; the default is Axolotl. auto: the faster one that fits.",
        ),
        click.option(
            "--compute-dtype",
            type=click.Choice(["float16", "bfloat16", "float32"]),
            help="Overrides the card's dtype.",
        ),
        click.option(
            "--set",
            "pairs",
            multiple=True,
            metavar="KEY=VALUE",
            shell_complete=complete.settings,
            help="Override a plan value; repeatable.",
        ),
        click.option(
            "--max-steps", type=click.IntRange(min=1), help="Stop after so many optimizer steps: a smoke run."
        ),
    ]

    @wraps(function)
    def gathered(**given: Any) -> Any:
        wanted = Wanted(**{item.name: given.pop(item.name) for item in fields(Wanted)})
        return function(wanted=wanted, **given)

    return _decorated(gathered, decorators)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: the facts on stdout, for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")(function)


runs_dir = click.option(
    "--runs-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
    help="Where runs are kept.",
)  # fmt: skip


def repair_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """What a run may mend by itself, and how long it waits."""
    decorators: list[Decorator] = [
        click.option(
            "--no-repair",
            multiple=True,
            type=click.Choice(["oom-train", "oom-eval", "overflow", "divergence", "stall", "exit", "trial"]),
            help="Leave this to you, and fail instead; repeatable.",
        ),
        click.option("--allow-shorter", is_flag=True, help="Let out of memory halve the sequence length, last of all."),
        click.option(
            "--stall-after", type=click.FloatRange(min=1), default=600.0, show_default=True, metavar="SECONDS",
            help="Least time without a step after which the trainer is started again.",
        ),
        click.option(
            "--stop-within", type=click.FloatRange(min=0), default=90.0, show_default=True, metavar="SECONDS",
            help="How long a stopped run waits for its checkpoint.",
        ),
    ]  # fmt: skip
    return _decorated(function, decorators)


def _decorated(function: Callable[..., Any], decorators: Sequence[Decorator]) -> Callable[..., Any]:
    """The function with the options in this order."""
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
