"""What the person asked for, as it is kept in the manifest: enough to prepare the run again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from launcher.catalog import whole_name
from launcher.data.read_as import AS_IT_IS, ReadAs
from launcher.files import require_text
from launcher.planning.request import Request
from launcher.preparing.names import Names
from launcher.records.run import AskedFor


@dataclass(frozen=True)
class Asked(Names):
    """The flags of `ql launch` that decide the plan and its inputs."""

    data: str | None
    config: str | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    golden: str | None = None
    gates: tuple[str, ...] = ()
    allow_overlap: bool = False
    read_as: ReadAs = AS_IT_IS

    def __post_init__(self) -> None:
        """Raises Unreadable for a file whose name is no text: run.json, the report and the model card name it."""
        for path in filter(None, (self.data, self.golden, self.config)):
            require_text(path)

    @property
    def golden_path(self) -> Path | None:
        return Path(self.golden) if self.golden else None

    def request(self) -> Request:
        """The names looked up, with the settings; raises what `make_request` raises."""
        return self.look_up(self.settings)

    def record(self) -> AskedFor:
        """For the manifest; files by their absolute paths, since a run may be resumed from another folder."""
        names = self.names()
        names["model"] = whole_name(self.model) if self.model else None
        return AskedFor(
            **names,
            data=_absolute(self.data),
            config=_absolute(self.config),
            settings=dict(self.settings),
            golden=_absolute(self.golden),
            gates=list(self.gates),
            allow_overlap=self.allow_overlap,
            columns=dict(self.read_as.columns),
            thoughts=self.read_as.thoughts,
        )

    @staticmethod
    def of(record: AskedFor) -> Asked:
        return Asked(
            **{item.name: getattr(record, item.name) for item in fields(Names)},
            data=record.data,
            config=record.config,
            settings=record.settings,
            golden=record.golden,
            gates=tuple(record.gates),
            allow_overlap=record.allow_overlap,
            read_as=ReadAs.of(record.columns, record.thoughts),
        )


def _absolute(path: str | None) -> str | None:
    return str(Path(path).absolute()) if path else path
