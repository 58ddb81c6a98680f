"""The trainers that ql knows, as descriptions. A third one is a new file here, one in backends/, and a template."""

from __future__ import annotations

from launcher.errors import Unreadable, did_you_mean
from launcher.trainers.axolotl import AXOLOTL
from launcher.trainers.base import Trainer
from launcher.trainers.unsloth import UNSLOTH

TRAINERS: dict[str, Trainer] = {trainer.name: trainer for trainer in (AXOLOTL, UNSLOTH)}


def get_trainer(name: str) -> Trainer:
    """The trainer called ``name``. Raises Unreadable for an unknown one, with the nearest name."""
    if name not in TRAINERS:
        raise Unreadable(f"no trainer {name!r}", hint=did_you_mean(name, list(TRAINERS)))
    return TRAINERS[name]


__all__ = ["TRAINERS", "Trainer", "get_trainer"]
