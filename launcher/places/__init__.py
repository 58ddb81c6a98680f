"""Where a run goes: each place starts `ql start RUN`, and can say how it stands, stop it, and bring its folder here.

A place is a module of this package with a `Place` called PLACE: a new one is a file, and no line elsewhere.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator
from functools import cache
from importlib import import_module

from launcher.errors import Unreadable
from launcher.places.base import Place, PlaceState, Submission, Wants
from launcher.places.record import Submitted, read_submitted, submit

__all__ = [
    "Place",
    "PlaceState",
    "Submission",
    "Submitted",
    "Wants",
    "get_place",
    "place_names",
    "read_submitted",
    "submit",
]

NO_PLACES = frozenset({"base", "record"})


@cache
def place_names() -> tuple[str, ...]:
    """The modules of this package that are places, without importing one."""
    return tuple(sorted(name for name in _modules() if name not in NO_PLACES))


def get_place(name: str) -> Place:
    """Raises Unreadable for a name that is no place's."""
    if name not in place_names():
        known = "; ".join(f"{each}: {_load(each).summary}" for each in place_names())
        raise Unreadable(f"no place {name!r}", hint=known)
    return _load(name)


def _load(name: str) -> Place:
    place: Place = import_module(f"{__name__}.{name}").PLACE
    return place


def _modules() -> Iterator[str]:
    return (module.name for module in pkgutil.iter_modules(__path__))
