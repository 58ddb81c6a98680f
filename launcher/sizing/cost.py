"""Hours and USD of a whole run, from its speed: training, evaluation, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.catalog.types import Model

# Stated assumptions; none of them is measured on the person's machine.
START_SECONDS = 90.0  # imports, tokenizing, first compilation, once per trainer start
DOWNLOAD_BYTES_PER_SECOND = 200e6  # of the base model from the hub; 0 s when it is a local folder
LOAD_BYTES_PER_SECOND = 1e9  # base from disk, quantised on the way
MERGE_BYTES_PER_SECOND = 0.3e9  # read, add, write of the 16-bit checkpoint
GOLDEN_SECONDS_PER_ROW = 1.0  # per prompt and model scored (base, adapter, merged)


@dataclass(frozen=True)
class Workload:
    """How much there is to train on. ``tokens_p95`` is the length that 95 % of the rows do not pass."""

    train_rows: int
    eval_rows: int
    tokens_mean: float
    tokens_p95: float
    num_epochs: float
    evals_per_epoch: int
    packing: bool
    golden_rows: int = 0
    max_steps: int | None = None


@dataclass(frozen=True)
class Cost:
    """Hours of each part; ``usd`` is None without a price. ``assumptions`` says what was not measured."""

    hours: float
    usd: float | None
    parts_hours: dict[str, float]
    tokens: int
    assumptions: tuple[str, ...]


def padded_length(workload: Workload, micro_batch_size: int, sequence_len: int) -> float:
    """Tokens that one row takes, padding included: rows of a micro-batch are padded to its longest.

    With packing there is none. One row alone is its own longest; the more rows, the nearer the longest comes to the
    95th percentile: mean + (p95 - mean) * (1 - 1/n).
    """
    mean = min(workload.tokens_mean, sequence_len)
    if workload.packing:
        return mean
    p95 = max(mean, min(workload.tokens_p95, sequence_len))
    return mean + (p95 - mean) * (1 - 1 / micro_batch_size)


def estimate_cost(
    workload: Workload,
    model: Model,
    *,
    tokens_per_second: float | None,
    micro_batch_size: int,
    effective_batch_size: int,
    sequence_len: int,
    gradient_checkpointing: bool = True,
    usd_per_hour: float | None = None,
    download: bool = True,
    merge: bool = True,
) -> Cost | None:
    """What the run takes; None when its speed is not known.

    Evaluation is a forward pass alone, a third of a training step's arithmetic with checkpointing and half without.
    """
    if tokens_per_second is None:
        return None
    row = padded_length(workload, micro_batch_size, sequence_len)
    rows = workload.train_rows * workload.num_epochs
    if workload.max_steps is not None:
        rows = min(rows, workload.max_steps * effective_batch_size)
    share = rows / (workload.train_rows * workload.num_epochs) if workload.train_rows else 0.0
    evaluations = workload.evals_per_epoch * (workload.num_epochs if workload.max_steps is None else 1.0)
    forward = 3.0 if gradient_checkpointing else 2.0
    size = model.parameters * 2
    seconds = {
        "start": START_SECONDS,
        "download": size / DOWNLOAD_BYTES_PER_SECOND if download else 0.0,
        "load": size / LOAD_BYTES_PER_SECOND,
        "train": rows * row / tokens_per_second,
        "evaluate": evaluations * workload.eval_rows * row / (tokens_per_second * forward),
        "golden": 3 * workload.golden_rows * GOLDEN_SECONDS_PER_ROW,
        "merge": size / MERGE_BYTES_PER_SECOND if merge else 0.0,
    }
    hours = sum(seconds.values()) / 3600
    assumptions = [f"start {START_SECONDS:.0f} s", f"load at {LOAD_BYTES_PER_SECOND / 1e9:g} GB/s"]
    if download:
        assumptions.append(f"download at {DOWNLOAD_BYTES_PER_SECOND / 1e6:g} MB/s")
    if merge:
        assumptions.append(f"merge at {MERGE_BYTES_PER_SECOND / 1e9:g} GB/s")
    if workload.golden_rows:
        assumptions.append(f"golden set {GOLDEN_SECONDS_PER_ROW:g} s per prompt, three times")
    return Cost(
        hours=hours,
        usd=None if usd_per_hour is None else hours * usd_per_hour,
        parts_hours={part: value / 3600 for part, value in seconds.items()},
        tokens=round(workload.train_rows * workload.num_epochs * share * min(workload.tokens_mean, sequence_len)),
        assumptions=tuple(assumptions),
    )
