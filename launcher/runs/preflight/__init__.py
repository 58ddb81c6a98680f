"""Before a run writes anything: what must hold of its trainer, card, machine and base model."""

from __future__ import annotations

from launcher.runs.preflight.base_model import check_base
from launcher.runs.preflight.checks import (
    card_here,
    check_environment,
    check_start,
    check_trackers,
    examine,
    fetch_base,
)

__all__ = ["card_here", "check_base", "check_environment", "check_start", "check_trackers", "examine", "fetch_base"]
