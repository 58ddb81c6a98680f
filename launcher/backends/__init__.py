"""The trainers as processes. Their descriptions are in `launcher.trainers`."""

from __future__ import annotations

from launcher.backends.axolotl import AxolotlBackend
from launcher.backends.base import Backend
from launcher.backends.unsloth import UnslothBackend
from launcher.errors import Unreadable, did_you_mean

BACKENDS: dict[str, Backend] = {backend.name: backend for backend in (AxolotlBackend(), UnslothBackend())}


def get_backend(name: str) -> Backend:
    """The backend called ``name``. Raises Unreadable for an unknown one, with the nearest name."""
    if name not in BACKENDS:
        raise Unreadable(f"no backend {name!r}", hint=did_you_mean(name, list(BACKENDS)))
    return BACKENDS[name]
