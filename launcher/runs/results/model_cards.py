"""Write the model cards: README.md in adapter/ and merged/, from what the manifest says now."""

from __future__ import annotations

from pathlib import Path

from launcher.files import write_atomic
from launcher.report.card import Subject, render_card
from launcher.runs.run import Run, as_written

SHIPPED: tuple[Subject, ...] = ("adapter", "merged")
CARD = "README.md"


def write_cards(run: Run) -> list[Path]:
    """The cards of what the run has; written again whenever scores or merge have changed."""
    written = []
    for subject in SHIPPED:
        folder = run.path / subject
        if folder.is_dir():
            with as_written(run):
                text = render_card(run.record, subject)
            write_atomic(folder / CARD, text)
            written.append(folder / CARD)
    return written
