"""Options that several verbs share, with what completes them in a shell."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from launcher.cli import complete
from launcher.files import program
from launcher.preparing.names import Names
from launcher.trainers import default_trainer, trainer_names

if TYPE_CHECKING:
    from launcher.planning.request import Request

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class Amount(click.FloatRange):
    """A number of a least size. `click.FloatRange` lets nan through, which no comparison stops, and inf."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


# Flags that are short for a setting, by that setting.
FLAGS = {
    "method": "--method",
    "backend": "--backend",
    "compute_dtype": "--compute-dtype",
    "max_steps": "--max-steps",
    "sequence_len": "--seq-len",
    "micro_batch_size": "--micro-batch",
    "keep": "--keep",
}


@dataclass(frozen=True, kw_only=True)
class Wanted(Names):
    """What `plan_options` were given: the run that a person wants planned. None, or nothing: not given."""

    compute_dtype: str | None
    pairs: tuple[str, ...]  # --set KEY=VALUE, as typed
    max_steps: int | None

    def __post_init__(self) -> None:
        """Raises Unreadable for a name that is empty, as `--model "$MODEL"` gives it where the variable is not set."""
        from launcher.errors import Problem, Unreadable

        empty = [name for name in ("preset", "gpu", "model") if getattr(self, name) == ""]
        if empty:
            raise Unreadable([Problem(f"--{name} is empty", hint="leave it out, or name one") for name in empty])

    def settings(self, **more: Any) -> dict[str, object]:
        """``--set`` pairs and the flags that are short for one, as one dict; ``more`` are such flags of a verb's own.

        Raises Unreadable for bad pairs and flags, and where a flag says another thing than a pair.
        """
        from launcher.catalog.check import check
        from launcher.errors import Problem, Unreadable
        from launcher.preparing.request import parse_settings

        parsed = parse_settings(self.pairs)
        short = {"compute_dtype": self.compute_dtype, "max_steps": self.max_steps} | more
        named = short | {"method": self.method, "backend": self.backend}
        clashes = [
            Problem(f"{FLAGS[key]} {value} and --set {key}={parsed[key]} contradict each other", hint="give one")
            for key, value in named.items()
            if value is not None and parsed.get(key, value) != value
        ]
        wrong = [
            Problem(f"{FLAGS[key]}: {problem.message}", hint=problem.hint)
            for key, value in short.items()
            if value is not None
            for problem in check({key: value}, "settings.json")
        ]
        if clashes or wrong:
            raise Unreadable(clashes + wrong)
        return parsed | {key: value for key, value in short.items() if value is not None}

    def request(self, *, architecture: str | None = None, **more: Any) -> Request:
        """The names looked up, with ``more`` as `settings` takes it; raises what that and `make_request` raise."""
        return self.look_up(self.settings(**more), architecture=architecture)


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
        click.option(
            "--gpu",
            metavar="NAME",
            shell_complete=complete.names_of("gpu"),
            help="Card to plan for, such as a10g; a preset names its own.",
        ),
        click.option(
            "--model",
            metavar="NAME",
            shell_complete=complete.names_of("model"),
            help="Base model: catalog name, hub name or folder.",
        ),
        click.option(
            "--method",
            type=click.Choice(methods),
            help="The default is qlora. auto: lora where it fits, else qlora."
            + (" both: one run of each, compared." if "both" in methods else ""),
        ),
        click.option(
            "--backend",
            type=click.Choice([*trainer_names(), "auto"]),
            help=f"Trainer; the default is {default_trainer().title}. auto: the faster one that fits.",
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
            help="Set a value of the plan, of those that `ql presets NAME` shows; repeatable.",
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


def _columns(ctx: click.Context, param: click.Parameter, value: tuple[str, ...]) -> Any:
    from launcher.data.columns import read_columns

    return read_columns(value)


map_option = click.option(
    "--map",
    "columns",
    multiple=True,
    metavar="COLUMN=NAME",
    callback=_columns,
    help="Read a column under another name: question=prompt,answer=completion; repeatable.",
)


def data_here(data: Path, python: str | None = None) -> Path:
    """A data file, or the rows of the data set of the hub that it names; ``python`` has the library that fetches it."""
    if data.exists() or "/" not in str(data):
        return data
    from launcher.preparing.hub_data import local_data

    return local_data(data, python or sys.executable)


def data_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """How a data file is read: ``columns``, the person's names for ql's, and what becomes of ``thoughts``."""
    decorators: list[Decorator] = [
        map_option,
        click.option(
            "--thoughts", type=click.Choice(["train", "each", "drop"]),
            help="Reasoning before answers: trained as the template writes it, which is the default; each answer in a "
            "row of its own; or left out.",
        ),
    ]  # fmt: skip
    return _decorated(function, decorators)


def json_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """``--json``: the facts on stdout, for machines."""
    return click.option("--json", "as_json", is_flag=True, help="Print the facts as JSON.")(function)


def _whole_path(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    return None if value is None else program(value)


trainer_python_option = click.option(
    "--trainer-python",
    metavar="PATH",
    callback=_whole_path,
    help="Python of the environment that has the trainers; the default is ql's own.",
)

runs_dir = click.option(
    "--runs-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("runs"), show_default=True,
    help="Where runs are kept.",
)  # fmt: skip


HERE = "here"  # the place of a run that nobody sent anywhere


def place_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Where the run goes: ``place``, a name that `launcher.places` knows."""

    @wraps(function)
    def placed(*args: Any, on: str | None, detach: bool, **given: Any) -> Any:
        if detach and on not in (None, "detached"):
            raise click.UsageError(f"--detach is --on detached: not with --on {on}")
        return function(*args, place=on or ("detached" if detach else HERE), **given)

    def known(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
        if value is not None:
            from launcher.places import get_place

            get_place(value)
        return value

    decorators: list[Decorator] = [
        click.option(
            "--on", metavar="PLACE", callback=known, shell_complete=complete.places,
            help="Where it runs: here, which is the default, or detached, in the background of this machine.",
        ),
        click.option("--detach", is_flag=True, help="The same as --on detached; see `ql runs RUN --follow`."),
    ]  # fmt: skip
    return _decorated(placed, decorators)


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
            "--stall-after", type=Amount(min=1), default=600.0, show_default=True, metavar="SECONDS",
            help="Least time without a step after which the trainer is started again.",
        ),
        click.option(
            "--stop-within", type=Amount(min=0), default=90.0, show_default=True, metavar="SECONDS",
            help="How long a stopped run waits for its checkpoint.",
        ),
    ]  # fmt: skip
    return _decorated(function, decorators)


def _decorated(function: Callable[..., Any], decorators: Sequence[Decorator]) -> Callable[..., Any]:
    """The function with the options in this order."""
    for decorator in reversed(decorators):
        function = decorator(function)
    return function
