"""Fewer rows than the examples have: these tests read them sixty times."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tickets(tmp_path_factory: pytest.TempPathFactory, tickets: Path) -> Path:
    """The first rows of the example training data."""
    path = tmp_path_factory.mktemp("data") / "tickets.jsonl"
    path.write_text("".join(tickets.read_text().splitlines(keepends=True)[:200]))
    return path
