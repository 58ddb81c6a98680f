"""A plan as the text that a trainer reads. The templates lay it out for people; nothing is decided here."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from functools import cache
from typing import Any

import jinja2
import yaml

from launcher.planning.plan import Plan
from launcher.resources import resource
from launcher.trainers import get_trainer

WIDTH = 110  # of a comment line
# A string that every YAML reader takes for that string: anything else is quoted.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]+")


def render_config(plan: Plan, tokens: Mapping[str, str], *, schema: str | None = None) -> dict[str, str]:
    """The files that the trainer of ``plan`` needs beside its data and chat template: name to text.

    ``tokens`` has ``eos``, ``eot`` and ``pad`` (see `launcher.data.special.special_tokens`). ``schema`` is what the
    editor's modeline points to; by default the bare name of the schema that ql ships for this trainer.
    """
    trainer = get_trainer(plan.backend)
    evaluates = plan.eval_fraction > 0 and plan.eval_rows != 0
    context = {
        "plan": plan,
        "tokens": tokens,
        "schema": schema or trainer.schema,
        "title": _title(plan),
        "run_with": f"Run it in this folder: {trainer.command}",
        "evaluates": evaluates,
        "keeps_best": evaluates and plan.keep == "best",
        "dataset": _AXOLOTL_CHAT if plan.conversational else _AXOLOTL_TEXT,
        "why": _Reasons(plan.reasons),
    }
    environment = _environment()
    files = {name: environment.get_template(source).render(context) for name, source in trainer.templates.items()}
    for name, source in trainer.copies.items():
        files[name] = resource("templates", source).read_text(encoding="utf-8")
    return files


# How Axolotl reads a row: only assistant turns are trained, each with the token that ends it.
_AXOLOTL_CHAT = """\
    ds_type: json
    type: chat_template
    field_messages: messages
    roles_to_train: [assistant]
    train_on_eos: turn"""
# Texts longer than sequence_len are split into several rows, for both trainers.
_AXOLOTL_TEXT = """\
    ds_type: json
    type: completion
    field: text"""


def _title(plan: Plan) -> str:
    name = f"{plan.preset}: " if plan.preset else ""
    return f"{name}{plan.base_model}, {plan.method} on {plan.gpu}"


class _Reasons:
    """``why("seed")`` in a template: the reason of a setting as comment lines, or nothing when none was given.

    ``named`` is the value of a setting that the file does not show otherwise.
    """

    def __init__(self, reasons: Mapping[str, str]) -> None:
        self.reasons = reasons

    def __call__(self, setting: str, indent: int = 0, named: Any = None) -> str:
        parts = [] if named is None else [f"{setting} {named}"]
        if self.reasons.get(setting):
            parts.append(self.reasons[setting])
        return textwrap.indent(comment(": ".join(parts)), " " * indent) + "\n" if parts else ""


def comment(text: str) -> str:
    """Any text as YAML comment lines: line breaks become spaces, and what YAML forbids becomes a question mark."""
    words = " ".join(text.split())
    visible = "".join(char if char.isprintable() else "?" for char in words)
    lines = textwrap.wrap(visible, WIDTH - 2, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f"# {line}" for line in lines)


def quote(value: Any) -> str:
    """A scalar, or a sequence of scalars, as YAML that fits behind a key; strings round-trip whatever is in them."""
    if isinstance(value, str):
        if _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
            return value
        return _dump(value, default_style='"')
    if isinstance(value, list | tuple):
        return f"[{', '.join(quote(item) for item in value)}]"
    return _dump(value)


def _dump(value: Any, **options: Any) -> str:
    text: str = yaml.safe_dump(value, allow_unicode=True, width=float("inf"), **options)
    return text.removesuffix("...\n").rstrip("\n")


def render_text(name: str, **context: Any) -> str:
    """A template of ql's own YAML files, such as a job, as text."""
    return _environment().get_template(name).render(context)


@cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(resource("templates")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # YAML, and every value goes through the filter `yaml`
    )
    environment.filters["yaml"] = quote
    environment.filters["comment"] = comment
    return environment
