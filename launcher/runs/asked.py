"""What the person asked for, as it is kept in the manifest: enough to prepare the run again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from launcher.catalog import whole_name
from launcher.files import require_text
from launcher.planning.names import Names
from launcher.planning.request import Request


@dataclass(frozen=True)
class Asked(Names):
    """The flags of `ql launch` that decide the plan and its inputs."""

    data: str | None
    config: str | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    golden: str | None = None
    gates: tuple[str, ...] = ()
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        """Raises Unreadable for a file whose name is no text: run.json, the report and the model card name it."""
        for path in filter(None, (self.data, self.golden, self.config)):
            require_text(path)

    def request(self) -> Request:
        """The names looked up, with the settings; raises what `make_request` raises."""
        return self.look_up(self.settings)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; files by their absolute paths, since a run may be resumed from another folder."""
        data = {**asdict(self), "gates": list(self.gates), "settings": dict(self.settings)}
        data |= {key: str(Path(data[key]).absolute()) for key in ("data", "config", "golden") if data[key]}
        return data | ({"model": whole_name(self.model)} if self.model else {})

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Asked:
        return Asked(**{**data, "gates": tuple(data.get("gates") or ())})
