"""What every verb needs, and nothing that takes time to import."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.data.report import DataReport

VERDICT = "ql.verdict"  # in click's context: the exit code of what was checked, though nobody reads what is said of it


def examples(*lines: str) -> str:
    """The end of a verb's help: commands as they are typed, which click shall not wrap."""
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


def show_asides(report: DataReport) -> None:
    """What is to be known of rows though they can be used, on stderr: beside a result, not in it."""
    from click import echo

    for warning in report.warnings():
        echo(f"warning: {warning}", err=True)
    for note in report.notes:
        echo(f"note: {note}", err=True)
