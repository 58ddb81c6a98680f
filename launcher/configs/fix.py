"""Apply the safe repairs of findings; every other byte of the file stays as it is."""

from __future__ import annotations

from collections.abc import Iterable

from launcher.configs.findings import Edit, Finding


def apply_fixes(source: bytes, findings: Iterable[Finding]) -> tuple[bytes, int]:
    """The repaired text, and how many findings were repaired.

    Edits count columns in characters of the text without a byte order mark. A finding whose edits overlap those of
    another is left for the next round.
    """
    text = source.decode("utf-8")
    mark = "\ufeff" if text.startswith("\ufeff") else ""
    lines = text[len(mark) :].split("\n")
    taken: list[Edit] = []
    count = 0
    for finding in findings:
        if finding.edits and not any(_overlap(edit, other) for edit in finding.edits for other in taken):
            taken.extend(finding.edits)
            count += 1
    for edit in sorted(taken, key=lambda edit: (edit.line, edit.start), reverse=True):
        line = lines[edit.line - 1]
        lines[edit.line - 1] = line[: edit.start - 1] + edit.text + line[edit.end - 1 :]
    return (mark + "\n".join(lines)).encode("utf-8"), count


def _overlap(one: Edit, other: Edit) -> bool:
    return one.line == other.line and one.start < other.end and other.start < one.end
