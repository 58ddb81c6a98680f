"""The facts of a comparison, as `ql compare --json` prints them and its page shows them."""

from __future__ import annotations

from typing import Any, Literal, TypedDict

from launcher.records.run import Scores

FigureName = Literal[
    "seconds", "usd", "peak_memory_gib", "predicted_gib", "tokens_per_second", "best_eval_loss", "final_loss", "steps"
]  # of a run


class GateVerdict(TypedDict):
    """Whether a gate was passed."""

    gate: str
    passed: bool


class Losses(TypedDict):
    """Both losses in a few points."""

    loss: list[float]
    eval_loss: list[float]


class RunFigures(TypedDict):
    """What is set side by side of a run; ``shipped`` is the model that would be served."""

    name: str
    path: str
    state: str
    method: str
    backend: str
    gpu: str | None
    compute_dtype: str | None
    seconds: float
    usd: float | None
    peak_memory_gib: float | None
    predicted_gib: float | None
    tokens_per_second: float | None
    best_eval_loss: float | None
    final_loss: float | None
    steps: int | None
    golden: Scores
    shipped: str | None
    gates: list[GateVerdict]
    repairs: int
    curve: Losses


class Difference(TypedDict):
    """A setting in which the plans are not all alike."""

    key: str
    values: list[Any]


class PairedScore(TypedDict):
    """`launcher.report.paired.Paired` as JSON."""

    rows: int
    first: float
    second: float
    difference: float
    low: float
    high: float
    better: int
    worse: int
    p_value: float | None
    method: str
    evident: bool


class Flip(TypedDict):
    """A prompt on which the two do not score alike."""

    id: str
    input: Any
    targets: list[str]
    first: str
    second: str
    first_score: float
    second_score: float


class GoldenPair(TypedDict):
    """Two runs on the prompts that both were asked."""

    first: str
    second: str
    subjects: list[str]
    prompts: int
    left_out: int
    main_metric: str
    metrics: dict[str, PairedScore]
    flipped: list[Flip]


class Traded(TypedDict):
    """What LoRA gives up for QLoRA, or gains: signed as LoRA minus QLoRA; points are hundredths of the main metric."""

    metric: str
    prompts: int
    points: float
    points_low: float
    points_high: float
    evident: bool
    p_value: float | None
    gib: float | None
    seconds: float | None
    usd: float | None


class Trade(Traded):
    """The same with what it recommends, and why."""

    words: str
    recommend: str
    run: str
    take: str
    why: str


class Comparison(TypedDict):
    """Two runs or more; each of the others is held against the first."""

    runs: list[RunFigures]
    plan: list[Difference]
    golden: list[GoldenPair]
    notes: list[str]
    trade: Trade | None
