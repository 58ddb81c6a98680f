"""Findings as text for people, JSON for programs, annotations for GitHub, and SARIF for code scanning."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from urllib.parse import quote

from launcher import __version__
from launcher.configs.findings import SEVERITIES, Finding

Sources = Mapping[str, Sequence[str]]  # file -> its lines, for excerpts
Formatter = Callable[..., str]
SHOWN = 20  # findings of a code that people are shown, where they did not ask for all; programs get every one
COLOURS = {"error": "31", "warning": "33", "note": "36"}
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    """How many findings there are of each severity."""
    return {severity: sum(finding.severity == severity for finding in findings) for severity in SEVERITIES}


def first_of_each(findings: Sequence[Finding], most: int | None) -> tuple[list[Finding], list[str]]:
    """The first ``most`` findings of each code (all, for None), and a line for each code of which there are more."""
    if most is None:
        return list(findings), []
    seen: Counter[str] = Counter()
    shown = []
    for finding in findings:
        seen[finding.code] += 1
        if seen[finding.code] <= most:
            shown.append(finding)
    return shown, [f"and {n - most:,} more of {code}; --all prints them" for code, n in seen.items() if n > most]


def text(
    findings: Sequence[Finding], sources: Sources, files: int, *, colour: bool = False, most: int | None = SHOWN
) -> str:
    """Each finding with its line and a caret under the span, then one line of counts. Why comes once.

    Of a code the first ``most``.
    """

    def paint(code: str, words: str) -> str:
        return f"\033[{code}m{words}\033[0m" if colour else words

    blocks = []
    explained = set()  # the reason for a code is the same wherever it is found: once for each file
    shown, more = first_of_each(findings, most)
    for finding in shown:
        where = paint("1", f"{finding.file}:{finding.line}:{finding.column}:")
        severity = paint(COLOURS[finding.severity], finding.severity)
        block = [f"{where} {severity} {finding.code} {finding.message}", *_excerpt(finding, sources, paint)]
        block += [f"  fix: {finding.hint}"] if finding.hint else []
        if finding.why and (finding.file, finding.why) not in explained:
            block.append(f"  why: {finding.why}")
        explained.add((finding.file, finding.why))
        blocks.append("\n".join(block))
    return "\n\n".join([*blocks, *more, summary(findings, files)]) + "\n"


def summary(findings: Sequence[Finding], files: int) -> str:
    """ "2 errors, 1 warning in 3 files" """
    parts = [_plural(number, name) for name, number in counts(findings).items() if number]
    return f"{', '.join(parts) or 'no findings'} in {_plural(files, 'file')}"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _excerpt(finding: Finding, sources: Sources, paint: Callable[[str, str], str]) -> list[str]:
    lines = sources.get(finding.file, ())
    if not 0 < finding.line <= len(lines):
        return []
    line = lines[finding.line - 1].rstrip("\r\n")
    first = max(0, finding.column - 60)  # long rows: the part around the span
    shown = line[first : first + 100].replace("\t", " ")
    width = max(1, min(finding.end_column, first + 101) - finding.column)
    number = f"{finding.line:>5}"
    caret = " " * (finding.column - 1 - first) + paint(COLOURS[finding.severity], "^" * width)
    return [f"{number} | {shown}", f"{'':>5} | {caret}"]


def as_json(
    findings: Sequence[Finding], sources: Sources, files: int, *, colour: bool = False, most: int | None = None
) -> str:
    """One object: the findings, and the counts."""
    body = {
        "version": __version__,
        "files": files,
        "counts": counts(findings),
        "findings": [finding.to_dict() for finding in findings],
    }
    return json.dumps(body, indent=2, ensure_ascii=False) + "\n"


def github(
    findings: Sequence[Finding], sources: Sources, files: int, *, colour: bool = False, most: int | None = SHOWN
) -> str:
    """One workflow command per finding: GitHub shows it beside the line of the pull request.

    https://docs.github.com/en/actions/reference/workflow-commands-for-github-actions
    """
    kinds = {"error": "error", "warning": "warning", "note": "notice"}
    out = []
    listed, more = first_of_each(findings, most)
    for finding in listed:
        message = finding.message + (f"\nfix: {finding.hint}" if finding.hint else "")
        properties = {
            "file": finding.file,
            "line": finding.line,
            "col": finding.column,
            "endColumn": finding.end_column,
            "title": f"ql {finding.code}",
        }
        shown = ",".join(f"{key}={_escape(str(value), ':,')}" for key, value in properties.items())
        out.append(f"::{kinds[finding.severity]} {shown}::{_escape(message)}")
    return "\n".join([*out, *more, summary(findings, files)]) + "\n"


def _escape(words: str, more: str = "") -> str:
    for letter in "%\r\n" + more:
        words = words.replace(letter, f"%{ord(letter):02X}")
    return words


def sarif(
    findings: Sequence[Finding], sources: Sources, files: int, *, colour: bool = False, most: int | None = None
) -> str:
    """A SARIF 2.1.0 log with one run: the codes that occur as rules, the findings as results, repairs as fixes."""
    codes = sorted({finding.code for finding in findings})
    driver = {
        "name": "ql",
        "semanticVersion": __version__,
        "rules": [_sarif_rule(code) for code in codes],
    }
    results = [_sarif_result(finding, codes.index(finding.code)) for finding in findings]
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return json.dumps({"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False) + "\n"


def _sarif_rule(code: str) -> dict[str, object]:
    from launcher.configs.catalogue import explain

    entry = explain(code)
    return {
        "id": code,
        "shortDescription": {"text": entry.title},
        "fullDescription": {"text": entry.why or entry.title},
        "defaultConfiguration": {"level": entry.severity},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, object]:
    location = {"uri": quote(finding.file.replace("\\", "/"), safe="/~")}
    region = {"startLine": finding.line, "startColumn": finding.column, "endColumn": finding.end_column}
    message = finding.message + (f" (fix: {finding.hint})" if finding.hint else "")
    result: dict[str, object] = {
        "ruleId": finding.code,
        "ruleIndex": index,
        "level": finding.severity,
        "message": {"text": message},
        "locations": [{"physicalLocation": {"artifactLocation": location, "region": region}}],
    }
    if finding.edits:
        replacements = [
            {
                "deletedRegion": {"startLine": edit.line, "startColumn": edit.start, "endColumn": edit.end},
                "insertedContent": {"text": edit.text},
            }
            for edit in finding.edits
        ]
        result["fixes"] = [{"artifactChanges": [{"artifactLocation": location, "replacements": replacements}]}]
    return result


FORMATS: dict[str, Formatter] = {"text": text, "json": as_json, "github": github, "sarif": sarif}
