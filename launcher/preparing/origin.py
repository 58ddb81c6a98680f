"""Where a run's settings come from: the names and values of a request, or a trainer's config that a person edited."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from launcher.configs.findings import Finding
from launcher.data.report import DataReport
from launcher.errors import Problem
from launcher.golden.rows import GoldenRow
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.preparing.prepared import Exam, TrainingRows


@dataclass(frozen=True)
class PlannedRun:
    """The plan, the request that it is the plan of, and what is trained on; ``report`` is None for rows of any kind."""

    plan: Plan
    request: Request
    rows: TrainingRows
    report: DataReport | None


@dataclass(frozen=True)
class TrainerFiles:
    """The trainer's files by name, what the validator finds in them, and what a run changes of the config."""

    texts: dict[str, str]
    findings: tuple[Finding, ...]
    overlay: dict[str, object]
    warnings: tuple[str, ...] = ()  # of a config that a person edited
    notes: tuple[str, ...] = ()


class Origin(ABC):
    """Settled names and settings. `launcher.preparing.prepare.prepare` calls each method once, in this order."""

    base: Path | None  # the base model's folder, where it is on this machine
    report: DataReport | None  # of the rows as they were read; None where nobody inspected them

    @abstractmethod
    def read_rows(self, exam: Exam) -> list[Problem]:
        """Read the training rows with the settled settings; what is wrong with them, where that can be said together
        with other problems. Raises BadInput where it cannot."""

    @abstractmethod
    def read_golden(self, path: Path) -> list[GoldenRow]:
        """The golden set, as the rows are. Raises BadInput with every row that is none."""

    @abstractmethod
    def plan(self) -> PlannedRun:
        """Every number of the run. Raises BadInput where there is no such run."""

    @abstractmethod
    def render(self, planned: PlannedRun) -> TrainerFiles:
        """The trainer's files. Raises BadInput where the validator finds an error in them."""
