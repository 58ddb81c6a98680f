"""What every verb needs, and nothing that takes time to import."""

from __future__ import annotations

VERDICT = "ql.verdict"  # in click's context: the exit code of what was checked, though nobody reads what is said of it


def examples(*lines: str) -> str:
    """The end of a verb's help: commands as they are typed, which click shall not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)
