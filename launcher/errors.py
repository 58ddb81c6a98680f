"""The one way a person learns that something is wrong: problems collected, printed at once, one exit code.

Exit codes: 1 the thing checked is bad, 2 usage or unreadable input, 3 the run could not start or failed,
130 stopped by SIGINT, 143 stopped by SIGTERM.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what, and what would be right."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    hint: str | None = None

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        text = f"{where}: {self.message}" if where else self.message
        return f"{text}\n  {self.hint}" if self.hint else text

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class QlError(Exception):
    """A failure that is explained to the person; never shown as a traceback."""

    exit_code = 3

    def __init__(self, problems: str | Problem | Iterable[Problem], *, hint: str | None = None) -> None:
        if isinstance(problems, str):
            problems = [Problem(problems, hint=hint)]
        elif isinstance(problems, Problem):
            problems = [problems]
        self.problems: list[Problem] = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BadInput(QlError):
    """The thing checked is bad: error findings, unusable rows, a gate missed, a run that does not fit."""

    exit_code = 1


class Unreadable(QlError):
    """Wrong usage, or an input that cannot be read: no such file or preset, not YAML."""

    exit_code = 2


class RunFailed(QlError):
    """The run could not start, or a stage of it failed."""

    exit_code = 3


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word most like `word`, whatever the case of either; None when nothing is close."""
    import difflib  # slow to import, and most runs of ql misspell nothing

    names = {name.casefold(): name for name in reversed(list(known))}  # of two that differ in case alone, the first
    close = difflib.get_close_matches(word.casefold(), [name.casefold() for name in known], n=1, cutoff=0.5)
    return names[close[0]] if close else None


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """A hint for an unknown word: the nearest known one, first among those that begin so, else the whole list."""
    longer = sorted(name for name in known if word and name.casefold().startswith(word.casefold()))
    guess = nearest(word, longer or known) or next(iter(longer), None)
    if guess is None:
        return "known: " + ", ".join(sorted(known))
    others = [name for name in longer if name != guess]
    return f"did you mean {guess!r}?" + (f" There are also {', '.join(others)}" if others else "")
