"""The rules of ``ql validate``, loaded by the kind of file they are for: a trainer's are in its own room."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import import_module

from launcher.resources import trainer_names
from launcher.rules.base import OWN_KINDS, RULES, Kind, Rule
from launcher.trainers import get_trainer

# Importing a module registers its rules.
TRAINING_MODULES = ("advice", "data", "memory")  # for the config of any trainer
OWN_MODULES: Mapping[Kind, tuple[str, ...]] = {"job": ("job_files",)}


@cache
def load_rules(kind: Kind) -> tuple[Rule, ...]:
    """The rules for files of ``kind``, by code."""
    if kind in OWN_KINDS:
        modules = OWN_MODULES.get(kind, ())
    else:
        modules = TRAINING_MODULES
        get_trainer(kind).load_rules()
    for name in modules:
        import_module(f"launcher.configs.rules.{name}")
    return tuple(rule for _, rule in sorted(RULES.items()))


def all_rules() -> dict[str, Rule]:
    """Every rule of every kind, by its code."""
    for kind in (*trainer_names(), *OWN_KINDS):
        load_rules(kind)
    return dict(sorted(RULES.items()))
