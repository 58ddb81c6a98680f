"""docs/reference/commands.md: every verb with its arguments and options, from click's own objects."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click

from launcher.cli.main import VERBS, main
from references.text import code, page, table


def commands_page() -> str:
    context = click.Context(main, info_name="ql")
    parts = [list(_verb(context, verb)) for verb in VERBS]
    intro = [*inspect.cleandoc(main.help or "").splitlines(), "", "Global options: `--version`, `-h`, `--help`."]
    return page("Commands", "the command line itself", intro, *parts)


def _verb(parent: click.Context, verb: str) -> Iterator[str]:
    command = main.get_command(parent, verb)
    assert command is not None
    context = click.Context(command, info_name=verb, parent=parent)
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"## ql {verb}"
    yield ""
    yield code(f"ql {verb} {usage}")
    yield ""
    yield from inspect.cleandoc(command.help or "").splitlines()
    yield ""
    if command.epilog:
        lines = command.epilog.splitlines()[2:]  # behind the mark that keeps click from wrapping, and "Examples:"
        yield from ("```text", *(line.strip() for line in lines), "```", "")
    rows = [
        _row(option, context) for option in command.params if isinstance(option, click.Option) and not option.hidden
    ]
    if rows:
        yield from table(("option", "value", "meaning"), rows)


def _row(option: click.Option, context: click.Context) -> tuple[str, str, str]:
    names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
    value = _value(option, context)
    meaning = option.help or ""
    default = option.get_default(context, call=True) if option.show_default else None
    notes = []
    if option.multiple:
        notes.append("repeatable")
    if default is not None and not option.is_flag:
        notes.append(f"default {code(str(default))}")
    if option.required:
        notes.append("required")
    lacking = [note for note in notes if note not in meaning]
    return names, value, meaning + (f" ({'; '.join(lacking)})" if lacking else "")


def _value(option: click.Option, context: click.Context) -> str:
    """What an option takes: its choices, or the name of a value with its bounds."""
    if option.is_flag:
        return ""
    if isinstance(option.type, click.Choice):
        return ", ".join(code(str(choice)) for choice in option.type.choices)
    kind = option.type
    if isinstance(kind, click.IntRange | click.FloatRange):
        bounds = [f"{sign} {bound:g}" for sign, bound in (("≥", kind.min), ("≤", kind.max)) if bound is not None]
        return " ".join([code(option.metavar or "N"), *bounds])
    return code(option.make_metavar(context).strip("[]"))
