"""The trainers that ql knows: one folder each, found by being there. docs/add-a-trainer.md says what is in one."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from launcher.errors import Unreadable, did_you_mean
from launcher.resources import trainer_names
from launcher.trainers.base import Trainer


@cache
def _load(name: str) -> Trainer:
    trainer: Trainer = import_module(f"launcher.trainers.{name}.describe").TRAINER
    return trainer


def get_trainer(name: str) -> Trainer:
    """The trainer called ``name``. Raises Unreadable for an unknown one, with the nearest name."""
    if name not in trainer_names():
        raise Unreadable(f"no trainer {name!r}", hint=did_you_mean(name, trainer_names()))
    return _load(name)


def all_trainers() -> tuple[Trainer, ...]:
    """Every trainer, by name."""
    return tuple(_load(name) for name in trainer_names())


def default_trainer() -> Trainer:
    """The one that runs where nobody chose."""
    return next(trainer for trainer in all_trainers() if trainer.is_default)


def quiet_environment() -> dict[str, str]:
    """Variables that keep every trainer's library from calling home, for any process of a trainer's python."""
    return {name: value for trainer in all_trainers() for name, value in trainer.environment.items()}


def installed_trainers(versions: Mapping[str, str | None]) -> list[str]:
    """Of all trainers, those whose distribution is in ``versions``, by name."""
    return [trainer.name for trainer in all_trainers() if versions.get(trainer.distribution)]


__all__ = [
    "Trainer",
    "all_trainers",
    "default_trainer",
    "get_trainer",
    "installed_trainers",
    "quiet_environment",
    "trainer_names",
]
