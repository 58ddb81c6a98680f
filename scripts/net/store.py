"""What was recorded: one compressed file a part. Each case is a few named texts; equal texts are kept once."""

from __future__ import annotations

import difflib
import hashlib
import json
import lzma
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml

from net.work import ROOT, Sections

FOLDER = ROOT / "tests" / "net" / "recorded"
INTENDED = ROOT / "tests" / "net" / "intended.yaml"
SHOWN_CASES = 8  # of those that differ, with their differences; the others by name
NAMED = 40
SHOWN_LINES = 40  # of each difference
KEYS = {"part", "case", "section", "old", "new", "reason"}

Cases = dict[str, Sections]


def write(part: str, cases: Cases) -> Path:
    """Replace what is recorded of ``part``; the same bytes for the same cases."""
    texts: dict[str, str] = {}
    said: dict[str, dict[str, str]] = {}
    for name in sorted(cases):
        said[name] = {}
        for section, text in cases[name].items():
            key = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:20]
            texts[key], said[name][section] = text, key
    body = json.dumps({"cases": said, "texts": texts}, indent=0)
    path = FOLDER / f"{part}.json.xz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(body.encode(), preset=9))
    return path


def read(part: str) -> Cases:
    """The recorded cases of ``part``."""
    data = json.loads(lzma.decompress((FOLDER / f"{part}.json.xz").read_bytes()))
    return {
        name: {section: data["texts"][key] for section, key in sections.items()}
        for name, sections in data["cases"].items()
    }


@dataclass
class Intended:
    """A difference that is meant. Without ``old`` the cases may differ in any way, appear, or be gone."""

    part: str
    case: str
    reason: str
    section: str = "*"
    old: str | None = None
    new: str = ""
    met: bool = False

    def covers(self, case: str, section: str) -> bool:
        return fnmatchcase(case, self.case) and fnmatchcase(section, self.section)


def read_intended(path: Path = INTENDED) -> list[Intended]:
    """The list, in its order. Raises ValueError for an entry with a key that is not known, or without its reason."""
    found = []
    for entry in yaml.safe_load(path.read_text(encoding="utf-8")) or []:
        if set(entry) - KEYS or not entry.get("reason") or ("new" in entry and "old" not in entry):
            raise ValueError(f"{path}: not an intended difference: {entry}")
        found.append(Intended(**entry))
    return found


def compare(part: str, recorded: Cases, made: Cases, intended: Iterable[Intended], *, whole: bool = True) -> list[str]:
    """What differs beyond what is intended, in words and lines; empty where nothing does.

    Unless these are not the ``whole`` part, an entry that was not needed is said as well.
    """
    mine = [entry for entry in intended if entry.part == part]
    differing: dict[str, list[str]] = {}
    for case in sorted({*recorded, *made}):
        before, after = recorded.get(case), made.get(case)
        if before is None or after is None:
            free = [entry for entry in mine if entry.old is None and fnmatchcase(case, entry.case)]
            for entry in free:
                entry.met = True
            if not free:
                differing[case] = ["it is not recorded" if before is None else "it is gone"]
            continue
        lines = [line for name in {**before, **after} for line in _section(case, name, before, after, mine)]
        if lines:
            differing[case] = lines
    problems = [_shown(case, lines) for case, lines in list(differing.items())[:SHOWN_CASES]]
    rest = list(differing)[SHOWN_CASES:]
    if rest:
        problems.append(f"and {len(rest)} more: " + ", ".join(rest[:NAMED]))
    if differing:
        problems.insert(0, f"{part}: {len(differing)} of {len(recorded)} cases are not as recorded")
    stale = [entry for entry in mine if whole and not entry.met]
    problems += [f"intended.yaml: nothing differs so any more: {_words(entry)}" for entry in stale]
    return problems


def _section(
    case: str, section: str, before: Mapping[str, str], after: Mapping[str, str], intended: Iterable[Intended]
) -> list[str]:
    """The lines of the difference of one text."""
    old, new = before.get(section, ""), after.get(section, "")
    entries = [entry for entry in intended if entry.covers(case, section)]
    for entry in entries:
        if entry.old is not None and entry.old in old:
            entry.met = True
            old = old.replace(entry.old, entry.new)
    if canonical(old) == canonical(new):
        return []
    free = [entry for entry in entries if entry.old is None]
    for entry in free:
        entry.met = True
    if free:
        return []
    diff = difflib.unified_diff(old.splitlines(), new.splitlines(), f"{section}, recorded", section, lineterm="", n=1)
    return list(diff) or [f"{section}: only the ends of lines differ"]


def canonical(text: str) -> str:
    """``text`` without what may differ: the order in which the reasons of a plan are given in JSON, and how far apart
    the columns of a table stand, which is the length of this checkout's path where a line names it.
    """
    try:
        return json.dumps(_sorted_reasons(json.loads(text)))
    except ValueError:
        return re.sub(r" {2,}", "  ", text) if "<root>" in text else text


def _sorted_reasons(data: Any) -> Any:
    if isinstance(data, list):
        return [_sorted_reasons(item) for item in data]
    if not isinstance(data, dict):
        return data
    return {
        key: dict(sorted(value.items())) if key == "reasons" and isinstance(value, dict) else _sorted_reasons(value)
        for key, value in data.items()
    }


def _shown(case: str, lines: list[str]) -> str:
    more = [f"… {len(lines) - SHOWN_LINES} more lines"] if len(lines) > SHOWN_LINES else []
    return "\n".join([f"--- {case}", *(line[:300] for line in lines[:SHOWN_LINES]), *more])


def _words(entry: Intended) -> str:
    said: dict[str, Any] = {"case": entry.case, "section": entry.section, "old": entry.old}
    return f"{said} ({entry.reason})"
