"""What a check found: a code that stays, a place, what is wrong, what would be right, and why it matters."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from launcher.errors import BadInput, Problem
from launcher.rules.base import Severity

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")


@dataclass(frozen=True)
class Edit:
    """A safe repair: the text of one line from ``start`` up to ``end`` (columns from 1) becomes ``text``."""

    line: int
    start: int
    end: int
    text: str


@dataclass(frozen=True)
class Finding:
    """One thing found in one file. Lines and columns start at 1; ``end_column`` is the first column after the span."""

    code: str
    severity: Severity
    file: str
    line: int
    column: int
    end_column: int
    path: str  # the key, as in "datasets[0].type"; empty for the whole file
    message: str
    hint: str = ""
    why: str = ""
    edits: tuple[Edit, ...] = ()

    def to_dict(self) -> dict[str, object]:
        """The finding as JSON-ready data, as ``--format json`` prints it."""
        return {
            "code": self.code,
            "severity": self.severity,
            "file": self.file,
            "line": self.line,
            "column": self.column,
            "end_column": self.end_column,
            "path": self.path,
            "message": self.message,
            "hint": self.hint,
            "why": self.why,
            "fixable": bool(self.edits),
        }

    def to_problem(self) -> Problem:
        message = f"{self.message} [{self.code}]"
        return Problem(message, file=self.file, line=self.line, column=self.column, hint=self.hint or None)


def path_text(path: Iterable[Any]) -> str:
    """``("datasets", 0, "type")`` as a person writes it: ``datasets[0].type``."""
    text = ""
    for part in path:
        text += (
            f"[{part}]" if isinstance(part, int) and not isinstance(part, bool) else f".{part}" if text else str(part)
        )
    return text


def errors_of(findings: Iterable[Finding]) -> list[Finding]:
    """The findings of severity error."""
    return [finding for finding in findings if finding.severity == "error"]


def refuse_errors(findings: Iterable[Finding]) -> None:
    """Raise BadInput with every finding of severity error; do nothing when there is none."""
    if errors := errors_of(findings):
        raise BadInput(finding.to_problem() for finding in errors)
