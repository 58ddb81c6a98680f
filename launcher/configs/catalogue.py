"""Every code that ``ql validate`` can print, with its documentation."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from launcher.configs.mismatch import DOCUMENTED
from launcher.configs.rules import all_rules
from launcher.configs.validate import FILE_CODES
from launcher.errors import Unreadable
from launcher.rules.base import FOREVER, Severity
from launcher.trainers import get_trainer, trainer_names
from launcher.trainers.releases import version_name


@dataclass(frozen=True)
class CodePage:
    """The page of one code. ``upstream`` names the validators of ``trainer`` that it stands for."""

    code: str
    severity: Severity
    title: str
    why: str
    versions: str = ""
    upstream: tuple[str, ...] = ()
    trainer: str = ""  # its title

    def text(self) -> str:
        """The page as a person reads it in a terminal."""
        parts = [f"{self.code} ({self.severity})  {self.title}", self.why]
        parts += [f"Holds for {self.trainer} {self.versions}."] if self.versions else []
        parts += [f"{self.trainer}'s own check: " + ", ".join(self.upstream)] if self.upstream else []
        parts.append(f"Switch it off for one line with a comment: # ql: ignore {self.code}")
        return "\n\n".join(part for part in parts if part) + "\n"


def codes() -> list[str]:
    """All codes, in order."""
    return sorted([*FILE_CODES, *DOCUMENTED, *all_rules()])


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


def explain(code: str) -> CodePage:
    """The page of ``code``. Raises Unreadable, with the nearest codes, when there is none."""
    code = code.upper()
    if code in FILE_CODES:
        severity, title, why = FILE_CODES[code]
        return CodePage(code, severity, title, why)
    if code in DOCUMENTED:
        title, _, rest = (inspect.getdoc(DOCUMENTED[code]) or "").partition("\n\n")
        return CodePage(code, "error", title, " ".join(rest.split()))
    rule = all_rules().get(code)
    if rule is not None:
        trainer = get_trainer(rule.kinds[0]) if rule.kinds[0] in trainer_names() else None
        since = f"from {version_name(rule.since)}" if trainer and rule.since > trainer.releases[0].version else ""
        until = f"up to {version_name(rule.until)}" if rule.until < FOREVER else ""
        title = trainer.title if trainer else ""
        return CodePage(code, rule.severity, rule.title, rule.why, f"{since}{until}", rule.upstream, title)
    raise Unreadable(f"no such code: {code}", hint=like(code))
