"""What is asked of a run first: `ql runs RUN --json` prints it, report and comparison begin with it."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.records.codec import Record, encode
from launcher.records.run import Curve, GateResult, RecordedPrice, Repair, Resume, Scores, Stage, Training


@dataclass(kw_only=True)
class MergeSummary(Record):
    """The merge in five figures."""

    base: str | None
    dtype: str
    kl: float | None
    top1_agreement: float | None
    delta_error: float | None


@dataclass(kw_only=True)
class Summary(Record):
    """``state`` is the manifest's, or ``interrupted``; ``seconds`` are those of all stages."""

    name: str
    state: str
    path: str
    created: str
    preset: str | None
    gpu: str | None
    model: str | None
    backend: str
    method: str
    base_model: str
    seconds: float
    usd: float | None
    price: RecordedPrice | None
    stages: list[Stage]
    best_eval_loss: float | None
    training: Training | None
    curve: Curve
    golden: Scores
    gates: list[GateResult]
    merge: MergeSummary | None
    repairs: list[Repair]
    resumes: list[Resume]
    warnings: list[str] = field(default_factory=list)
    notes: list[str]

    def to_dict(self) -> dict[str, object]:
        """JSON-ready; a run that was not trained yet has an empty ``training``."""
        return encode(self) | {"training": encode(self.training) if self.training else {}}
