"""What every test may rely on: the project's own files, and no network for anything that looks for a hub."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # as in what ql starts: threads that spin slow a busy machine
# What somebody measured on this machine must not decide whether a test passes.
os.environ["QL_CALIBRATION"] = str(Path(__file__).resolve().parent / "no-calibration.json")
# No test is timed: a busy machine must not fail one. pytest's timeout ends what hangs.
settings.register_profile("ql", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("quick", settings.get_profile("ql"), max_examples=5)
settings.load_profile("ql")
ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def tickets() -> Path:
    """The example training data."""
    return ROOT / "examples" / "tickets.jsonl"


@pytest.fixture(scope="session")
def golden() -> Path:
    """The example golden set."""
    return ROOT / "examples" / "golden.jsonl"
