"""What a machine and a trainer's environment have."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

from launcher.records.codec import LATE, Record


@dataclass(kw_only=True)
class Device(Record):
    """A card as torch sees it."""

    index: int = 0
    name: str = ""
    compute_capability: str = "0.0"
    total_gib: float = 0.0
    free_gib: float = 0.0
    driver: Annotated[str | None, LATE] = None

    @property
    def capability(self) -> float:
        return float(self.compute_capability)


@dataclass(kw_only=True)
class SeenCard(Record):
    """A card as nvidia-smi sees it."""

    name: str
    driver: str


@dataclass(kw_only=True)
class CardProcess(Record):
    """A process that holds memory of a card; ``gib`` is None where nvidia-smi cannot say how much."""

    pid: int
    name: str
    gib: float | None = None


@dataclass(kw_only=True)
class Probed(Record):
    """What the job ``probe`` finds in a trainer's environment.

    ``versions`` are None where a distribution is not installed; ``cuda`` is what torch is built for, ``arch_list`` what
    it has code for; ``seen`` and ``processes`` are nvidia-smi's; ``unsupported`` says which requirements are not met.
    """

    python: str = ""
    executable: str = ""
    versions: dict[str, str | None] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    cuda: str | None = None
    arch_list: list[str] = field(default_factory=list)
    seen: list[SeenCard] = field(default_factory=list)
    processes: list[CardProcess] = field(default_factory=list)
    unsupported: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Environment(Probed):
    """The same with the machine around it: memory and disk in GiB, and what to install for the trainers that lack."""

    trainers: list[str] = field(default_factory=list)
    host_memory_gib: float | None = None
    disk_free_gib: float | None = None
    advice: list[str] = field(default_factory=list)
