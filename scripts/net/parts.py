"""The parts by name. Each makes its cases in a working folder."""

from __future__ import annotations

import importlib
from pathlib import Path

from net.store import Cases
from net.work import make_work

PARTS = {
    name: f"net.{name}" for name in ("plans", "settings", "edited", "estimates", "findings")
}


def make(part: str, folder: Path) -> Cases:
    """The cases of ``part`` as the program is now; ``folder`` is empty, and may be filled."""
    cases: Cases = importlib.import_module(PARTS[part]).cases(make_work(folder))
    return cases
