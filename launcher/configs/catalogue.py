"""Every code that ``ql validate`` can print, with its documentation."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from launcher.configs.mismatch import DOCUMENTED
from launcher.configs.rules import RULES
from launcher.configs.validate import FILE_CODES
from launcher.errors import Unreadable
from launcher.rules.base import Severity


@dataclass(frozen=True)
class Entry:
    """The page of one code. ``axolotl`` names the validators of Axolotl that it stands for."""

    code: str
    severity: Severity
    title: str
    why: str
    versions: str = ""
    axolotl: tuple[str, ...] = ()

    def text(self) -> str:
        """The page as a person reads it in a terminal."""
        parts = [f"{self.code} ({self.severity})  {self.title}", self.why]
        parts += [f"Holds for Axolotl {self.versions}."] if self.versions else []
        parts += ["Axolotl's own check: " + ", ".join(self.axolotl)] if self.axolotl else []
        parts.append(f"Switch it off for one line with a comment: # ql: ignore {self.code}")
        return "\n\n".join(part for part in parts if part) + "\n"


def codes() -> list[str]:
    """All codes, in order."""
    return sorted([*FILE_CODES, *DOCUMENTED, *RULES])


def like(code: str) -> str:
    """A hint for what is no code: the nearest ones, and where all of them are."""
    import difflib  # slow to import, and most codes are codes

    near = difflib.get_close_matches(code.upper(), codes(), n=3, cutoff=0.6)
    meant = f"did you mean {', '.join(near)}? " if near else ""
    return f"{meant}`ql validate --explain QL` lists them all"


def listing(start: str) -> str:
    """The codes that begin with ``start``, a line each; empty where none does, or ``start`` is a whole one."""
    found = [explain(code) for code in codes() if code.startswith(start.upper()) and code != start.upper()]
    return "".join(f"{entry.code}  {entry.severity:7}  {entry.title}\n" for entry in found)


def explain(code: str) -> Entry:
    """The page of ``code``. Raises Unreadable, with the nearest codes, when there is none."""
    code = code.upper()
    if code in FILE_CODES:
        severity, title, why = FILE_CODES[code]
        return Entry(code, severity, title, why)
    if code in DOCUMENTED:
        title, _, rest = (inspect.getdoc(DOCUMENTED[code]) or "").partition("\n\n")
        return Entry(code, "error", title, " ".join(rest.split()))
    if code in RULES:
        rule = RULES[code]
        since = f"from {rule.since[0]}.{rule.since[1]}" if rule.since > (0, 17) else ""
        until = f"up to {rule.until[0]}.{rule.until[1]}" if rule.until < (99, 0) else ""
        return Entry(code, rule.severity, rule.title, rule.why, f"{since}{until}", rule.axolotl)
    raise Unreadable(f"no such code: {code}", hint=like(code))
