"""Markdown that holds whatever is put into it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Text for a table's cell."""
    return " ".join(text.replace("|", "\\|").split())


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines of a table."""
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return [*lines, *("| " + " | ".join(cell(value) for value in row) + " |" for row in rows)]


def code(text: str) -> str:
    """Text as inline code; empty stays empty."""
    if not text:
        return ""
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def page(title: str, made_by: str, *parts: Iterable[str]) -> str:
    """A whole page: a title, where it comes from, its parts."""
    lines = [f"# {title}", "", f"*Made by `make references` from {made_by}.*"]
    for part in parts:
        lines += ["", *part]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"
