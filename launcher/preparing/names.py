"""The names that say what to plan, as the command line, a job file and a run's manifest give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypedDict

if TYPE_CHECKING:
    from launcher.planning.request import Request


class Given(TypedDict):
    """`Names` by name."""

    preset: str | None
    gpu: str | None
    model: str | None
    method: str | None
    backend: str | None


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the catalog, as given; None: not given."""

    preset: str | None = None
    gpu: str | None = None
    model: str | None = None
    method: str | None = None
    backend: str | None = None

    def names(self) -> Given:
        """The names alone, also of what holds more than them."""
        return self.names_or(Names())

    def names_or(self, other: Names) -> Given:
        """These names, with those of ``other`` where none was given."""
        return {
            "preset": self.preset or other.preset,
            "gpu": self.gpu or other.gpu,
            "model": self.model or other.model,
            "method": self.method or other.method,
            "backend": self.backend or other.backend,
        }

    def look_up(self, settings: Mapping[str, object], *, architecture: str | None = None) -> Request:
        """What the names stand for, to be planned with ``settings``; raises what `make_request` raises."""
        from launcher.preparing.request import make_request  # reads the catalog: not at the start of every verb

        return make_request(**self.names(), settings=settings, architecture=architecture)
