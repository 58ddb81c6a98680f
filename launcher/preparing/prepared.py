"""A run that could start: everything decided before the trainer, whatever the settings came from."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from launcher.catalog import Gpu
from launcher.configs.findings import Finding
from launcher.data.report import DataReport
from launcher.data.write import write_data
from launcher.errors import BadInput, Problem, Unreadable
from launcher.files import write_atomic
from launcher.golden.gates import Gate, parse_gates
from launcher.golden.rows import GoldenRow
from launcher.planning.forecast import Forecast
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.records.run import DataRecord, Estimate, RecordedPrice
from launcher.sizing import MemoryEstimate

TEMPLATE_FILE = "chat_template.jinja"


class TrainingRows(Protocol):
    """What a run trains on: the file that the person gave, and how the run gets its own copy."""

    @property
    def given(self) -> Path: ...
    @property
    def sha256(self) -> str: ...
    @property
    def excess(self) -> str | None:
        """What the sequence length does to rows that are longer; None when there are none, or nobody knows."""

    def write(self, folder: Path) -> DataRecord:
        """Write the rows into ``folder``; what the run's manifest says of them."""


@dataclass(frozen=True)
class GivenFile:
    """The file of ``--data``, inspected: it becomes data/train.jsonl and data/eval.jsonl."""

    report: DataReport
    eval_fraction: float
    seed: int

    @property
    def given(self) -> Path:
        return self.report.path

    @property
    def sha256(self) -> str:
        return self.report.sha256

    @property
    def excess(self) -> str | None:
        return long_rows(self.report)

    def write(self, folder: Path) -> DataRecord:
        written = write_data(self.report, folder, eval_fraction=self.eval_fraction, seed=self.seed)
        return written.record(self.given)


def long_rows(report: DataReport | None) -> str | None:
    """What the sequence length does to the rows that are longer; None when there are none, or nobody knows."""
    excess = report.excess if report else None
    if report is None or excess is None or not excess.long_rows:
        return None
    return excess.describe(report.row_count, report.facts().exact)


@dataclass(frozen=True)
class Prepared:
    """A run that could start: decided, rendered and checked.

    ``files`` are the trainer's files by name; ``base_folder`` is None when the base model is not on this machine yet.
    ``overlay`` has the keys of the config that this run changes, as paths inside a run differ from those outside.
    ``report`` is None where nobody could inspect the rows.
    """

    request: Request
    forecast: Forecast
    rows: TrainingRows
    report: DataReport | None
    inspected: DataReport | None  # as the rows were read: another plan of them need not read them again
    files: dict[str, str]
    findings: tuple[Finding, ...]
    base_folder: Path | None
    golden_path: Path | None
    golden: tuple[GoldenRow, ...]
    gates: tuple[Gate, ...]
    overlay: dict[str, object] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()  # of the config: those of the rows are the report's
    notes: tuple[str, ...] = ()

    @property
    def is_estimated(self) -> bool:
        """Whether the rows' lengths are estimates from bytes."""
        lengths = self.report.lengths if self.report else None
        return lengths is not None and not lengths.exact

    @property
    def plan(self) -> Plan:
        return self.forecast.plan

    @property
    def memory(self) -> MemoryEstimate:
        return self.forecast.memory

    @property
    def gpu(self) -> Gpu:
        return self.request.gpu

    @property
    def data_record(self) -> DataRecord:
        """The file that the person gave, for the manifest."""
        return DataRecord(path=str(self.rows.given.resolve()), sha256=self.rows.sha256)

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each of the trainer's files."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.files.items()}

    @property
    def estimate(self) -> Estimate:
        """What is expected of the run: the live view and the report hold what was measured against it."""
        found, memory = self.forecast.to_dict(), self.memory
        price = self.forecast.price
        return Estimate(
            gpu_title=self.gpu.title,
            peak_gib=memory.peak_gib,
            allocated_gib=memory.allocated_gib,
            budget_gib=memory.budget_gib,
            breakdown_gib=memory.breakdown_gib,
            tokens_per_second=found["throughput"]["tokens_per_second"],
            hours=found["hours"],
            hours_by_part=found["hours_by_part"],
            usd=found["usd"],
            price=None
            if price is None
            else RecordedPrice(usd_per_hour=price.usd_per_hour, source=price.source, date=price.date),
        )

    def write(self, folder: Path) -> DataRecord:
        """Write the trainer's files and its data into ``folder``; the facts of the data come back for the manifest."""
        for name, text in self.files.items():
            write_atomic(folder / name, text)
        return self.rows.write(folder)


@dataclass(frozen=True)
class Exam:
    """What the trained model is to be held to: a golden set, and the gates on it."""

    golden: Path | None = None
    gates: tuple[Gate, ...] = ()
    allow_overlap: bool = False  # golden prompts may be training rows

    @staticmethod
    def read(golden: Path | None, gates: Sequence[str], *, allow_overlap: bool = False) -> Exam:
        """Raises Unreadable for a bad gate, and for any when there is no golden set."""
        if gates and golden is None:
            raise Unreadable("--gate needs a golden set to be measured on", hint="add --golden FILE.jsonl")
        return Exam(golden, tuple(parse_gates(gates)), allow_overlap)


def require_scored(gates: Sequence[Gate], *, merge: bool) -> None:
    """Raises Unreadable for a gate on merged/ in a run that makes none: it could only be missed, after the training."""
    asked = [gate.text for gate in gates if "merged" in gate.subjects]
    if asked and not merge:
        said = [Problem(f"--gate {text!r} asks for merged, which a run without merge does not make") for text in asked]
        raise Unreadable(said)


def require_fit(memory: MemoryEstimate, gpu: Gpu, method: str) -> None:
    """Raises BadInput when the plan, which is for ``method``, does not fit the card it is for."""
    if not memory.fits:
        other = "--method qlora, " if method != "qlora" else ""
        raise BadInput(
            f"this run needs {memory.needed_gib:.1f} GiB and {gpu.title} has {memory.budget_gib:.1f} GiB to give",
            hint=f"a shorter --set sequence_len=N, {other}a smaller --model, or a larger card",
        )
