"""A run that could start: everything decided before the trainer, planned here or read back from an edited config."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from launcher.catalog import Gpu
from launcher.configs.findings import Finding
from launcher.data.prepare import prepare_data
from launcher.data.report import DataReport
from launcher.errors import BadInput, Problem, Unreadable
from launcher.files import write_atomic
from launcher.golden.gates import Gate, parse_gates
from launcher.golden.rows import GoldenRow
from launcher.planning.plan import Plan
from launcher.planning.request import Request
from launcher.sizing import MemoryEstimate

TEMPLATE_FILE = "chat_template.jinja"


@dataclass(frozen=True)
class Prepared:
    """A run that could start: decided, rendered and checked.

    ``files`` are the trainer's files by name; ``base_folder`` is None when the base model is not on this machine yet.
    ``overlay`` has the keys of the config that this run changes, as paths inside a run differ from those outside.
    """

    request: Request
    plan: Plan
    report: DataReport | None
    memory: MemoryEstimate
    files: dict[str, str]
    findings: tuple[Finding, ...]
    base_folder: Path | None
    golden_path: Path | None
    golden: tuple[GoldenRow, ...]
    gates: tuple[Gate, ...]
    allow_overlap: bool
    overlay: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def gpu(self) -> Gpu:
        return self.request.gpu

    @property
    def data_source(self) -> dict[str, Any]:
        """The file that the person gave, for the manifest."""
        assert self.report is not None
        return {"path": str(self.report.path.resolve()), "sha256": self.report.sha256}

    @property
    def hashes(self) -> dict[str, str]:
        """The sha256 of each of the trainer's files."""
        return {name: hashlib.sha256(text.encode()).hexdigest() for name, text in self.files.items()}

    @property
    def excess(self) -> str | None:
        """What the sequence length does to rows that are longer; None when there are none, or nobody knows."""
        excess = self.report.excess if self.report else None
        if self.report is None or excess is None or not excess.long_rows:
            return None
        return excess.describe(self.report.row_count, self.report.facts().exact)

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the trainer's files and its data into ``folder``; the facts of the data come back for the manifest."""
        assert self.report is not None
        for name, text in self.files.items():
            write_atomic(folder / name, text)
        written = prepare_data(
            self.report.path,
            folder,
            eval_fraction=self.plan.eval_fraction,
            seed=self.plan.seed,
            sequence_len=self.plan.sequence_len,
            excess_length=self.plan.excess_length,
            chat_template=self.plan.chat_template,
            base=self.base_folder,
            golden=self.golden_path,
            allow_overlap=self.allow_overlap,
            report=self.report,
        )
        return written.to_dict()


def read_gates(gates: Sequence[str], golden: Path | None) -> tuple[Gate, ...]:
    """The gates of a launch. Raises Unreadable for a bad one, and for any when there is no golden set."""
    if gates and golden is None:
        raise Unreadable("--gate needs a golden set to be measured on", hint="add --golden FILE.jsonl")
    return tuple(parse_gates(gates))


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
