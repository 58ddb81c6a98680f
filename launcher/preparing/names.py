"""The names that say what to plan, as the command line, a job file and a run's manifest give them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.planning.request import Request


@dataclass(frozen=True, kw_only=True)
class Names:
    """Names of the catalog, as given; None: not given."""

    preset: str | None = None
    gpu: str | None = None
    model: str | None = None
    method: str | None = None
    backend: str | None = None

    def names(self) -> dict[str, Any]:
        """The names alone, also of what holds more than them."""
        return {item.name: getattr(self, item.name) for item in fields(Names)}

    def names_or(self, other: Names) -> dict[str, Any]:
        """These names, with those of ``other`` where none was given."""
        return {key: value or getattr(other, key) for key, value in self.names().items()}

    def look_up(self, settings: Mapping[str, Any], *, architecture: str | None = None) -> Request:
        """What the names stand for, to be planned with ``settings``; raises what `make_request` raises."""
        from launcher.preparing.request import make_request  # reads the catalog: not at the start of every verb

        return make_request(**self.names(), settings=settings, architecture=architecture)
