"""A plan as the text that a trainer reads. The templates lay it out for people; nothing is decided here."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Mapping
from functools import cache, lru_cache
from typing import Any

import jinja2
import yaml

from launcher.planning.plan import Plan
from launcher.resources import resource
from launcher.rules.base import Version
from launcher.trainers import get_trainer
from launcher.trainers.codec import Codec

WIDTH = 110  # of a comment line
# A string that every YAML reader takes for that string: anything else is quoted.
_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]+")


def render_config(
    plan: Plan,
    tokens: Mapping[str, str],
    *,
    schema: str | None = None,
    version: Version | None = None,
    masked: bool = False,
) -> dict[str, str]:
    """The files that the trainer of ``plan`` needs beside its data and chat template: name to text.

    ``tokens`` has ``eos``, ``eot`` and ``pad`` (see `launcher.data.special.special_tokens`). ``version`` is the
    trainer's release; by default the newest that ql launches. ``schema`` is what the editor's modeline points to; by
    default the bare name of the schema that ql ships for that release. ``masked``: the rows have turns of the assistant
    that are not trained.
    """
    trainer = get_trainer(plan.backend)
    release = trainer.release(version) if version else trainer.newest
    why = _Reasons(plan.reasons)
    layout = _Layout(plan, trainer.codec_of(release), why)
    context = {
        "plan": plan,
        "tokens": tokens,
        "masked": masked,
        "schema": schema or f"{release.schema}.json",
        "title": _title(plan),
        "run_with": f"Run it in this folder: {trainer.command}",
        "why": why,
        "put": layout.put,
        "section": layout.section,
        "line": layout.line,
    }
    environment = _environment()
    files = {name: environment.get_template(source).render(context) for name, source in trainer.templates.items()}
    for name, source in trainer.copies.items():
        files[name] = resource("templates", source).read_text(encoding="utf-8")
    return files


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


class _Layout:
    """The keys of a plan for a template: where they stand is the template's, what they are is the codec's.

    What comes back is whole lines without the last line break.
    """

    def __init__(self, plan: Plan, codec: Codec, why: _Reasons) -> None:
        self.plan, self.codec, self.why = plan, codec, why
        self.keys = codec.encode(plan)

    def put(self, setting: str, indent: int = 0) -> str:
        """``put("seed")``: the reason of a setting, then each of its keys on a line."""
        entry = self.codec.by_setting[setting]
        reason = self.why(setting, indent, getattr(self.plan, setting) if entry.named else None)
        lines = "\n".join(self.line(key) for key in entry.keys_in(self.plan))
        return reason + textwrap.indent(lines, " " * indent)

    def section(self, name: str) -> str:
        """`put` of every setting of a section that has a key in this config."""
        return "\n".join(self.put(entry.setting) for entry in self.codec.section(name) if entry.keys_in(self.plan))

    def line(self, key: str) -> str:
        """``line("seed")``: the key with its value; of a key inside another, without the outer one."""
        value, name = self.keys[key], key.rpartition(".")[2]
        if not isinstance(value, Mapping):
            return f"{name}: {quote(value)}"
        return "\n".join([f"{name}:", *(f"  {inner}: {quote(part)}" for inner, part in value.items())])


def comment(text: str) -> str:
    """Any text as YAML comment lines: line breaks become spaces, and what YAML forbids becomes a question mark."""
    words = " ".join(text.split())
    visible = "".join(char if char.isprintable() else "?" for char in words)
    lines = textwrap.wrap(visible, WIDTH - 2, break_long_words=False, break_on_hyphens=False) or [""]
    return "\n".join(f"# {line}" for line in lines)


def quote(value: Any) -> str:
    """A scalar, or a sequence of scalars, as YAML that fits behind a key; strings round-trip whatever is in them."""
    if isinstance(value, list | tuple):
        return f"[{', '.join(quote(item) for item in value)}]"
    return _scalar(value)


@lru_cache(maxsize=1024, typed=True)  # the same few values stand in every config
def _scalar(value: Any) -> str:
    plain = isinstance(value, str) and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value
    if plain:
        return str(value)
    style = '"' if isinstance(value, str) else None
    text: str = yaml.safe_dump(value, allow_unicode=True, width=float("inf"), default_style=style)
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
