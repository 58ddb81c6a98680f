"""The parts by name. Each makes its cases in a working folder."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

from net.store import Cases
from net.work import make_work

# The command line alone: no torch.
LIGHT = ("plans", "settings", "edited", "estimates", "findings", "wrong", "runs")
# With torch and the trainers: runs that are resumed, merges of the fixtures of the tests of the merge.
HEAVY = ("resumed", "merged")


def make(part: str, folder: Path, *, every: int = 1) -> Cases:
    """The cases of ``part`` as the program is now; ``folder`` is empty, and may be filled.

    Of those that go over all presets and settings, each ``every``-th is made.
    """
    cases: Cases = importlib.import_module(f"net.{part}").cases(replace(make_work(folder), every=every))
    return cases
