"""Hours and USD of a whole run, from its speed: training, evaluation, and what stands around them."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.sizing.lengths import RowLengths
from launcher.sizing.request import MemoryRequest

# Stated assumptions; none of them is measured on the person's machine. Where they come from: one run of a 7B on an
# H200 (benchmarks/device/a10g-7b.json) took 52 to 71 s from the trainer's start to its first step, 38 to 40 s to merge
# 14.5 GB, and 45 s to verify.
START_SECONDS = 45.0  # a trainer's imports and first compilation
WORKER_SECONDS = 20.0  # imports of each later stage: golden set, merge, verification
DOWNLOAD_BYTES_PER_SECOND = 200e6  # of the base model from the hub; 0 s when it is a local folder
LOAD_BYTES_PER_SECOND = 1e9  # base from disk, quantised on the way; again for each stage that needs the model
MERGE_BYTES_PER_SECOND = 0.37e9  # read, add, write of the 16-bit checkpoint
GOLDEN_TOKENS = 64  # generated for each prompt of the golden set
GOLDEN_SECONDS_PER_LAYER = 0.0008  # host time of one decoder layer for one generated token, in 4 bit
GOLDEN_BATCH = 8  # prompts answered at a time
SAVE_SECONDS = 3.0  # of each checkpoint


@dataclass(frozen=True)
class Workload:
    """How much there is to train on: rows as they are trained, their lengths, and how often they are passed over."""

    train_rows: float  # not those that a cut leaves out; the pieces of a text that is split
    eval_rows: float
    lengths: RowLengths
    num_epochs: float
    evals_per_epoch: int
    effective_rows: float  # rows in one optimizer step
    golden_rows: int = 0
    max_steps: int | None = None

    @property
    def trained_rows(self) -> float:
        """Rows passed over in the whole run."""
        rows = self.train_rows * self.num_epochs
        return rows if self.max_steps is None else min(rows, self.max_steps * self.effective_rows)

    @property
    def evaluations(self) -> float:
        """How often the held-out rows are passed over: at each checkpoint, and once at the start."""
        if not self.eval_rows:
            return 0.0
        return 1 + self.evals_per_epoch * (self.num_epochs if self.max_steps is None else 1.0)


@dataclass(frozen=True)
class Cost:
    """Hours of each part; ``usd`` is None without a price. ``assumptions`` says what was not measured."""

    hours: float
    usd: float | None
    parts_hours: dict[str, float]
    tokens: int
    assumptions: tuple[str, ...]


def estimate_cost(
    workload: Workload,
    job: MemoryRequest,
    *,
    tokens_per_second: float,
    usd_per_hour: float | None = None,
    download: bool = True,
    merge: bool = True,
) -> Cost:
    """What the run takes at ``tokens_per_second`` (tokens of rows; padding is in the speed already).

    Evaluation is a forward pass alone: a third of a training step's arithmetic with checkpointing, half without; its
    rows are padded in their own batches. Base and adapter answer the golden set from 4-bit weights, one token at a
    time; the merged model, where there is one, answers it once more.
    """
    limit, model = job.sequence_len, job.model
    mean = workload.lengths.mean(limit)
    tokens = workload.trained_rows * mean
    padded = workload.lengths.padded(job.eval_batch_size, limit) / workload.lengths.padded(job.micro_batch_size, limit)
    forward = 3.0 if job.gradient_checkpointing else 2.0
    evaluated = workload.evaluations * workload.eval_rows * mean * (1.0 if job.packing else padded)
    size = model.parameters * 2
    load = size / LOAD_BYTES_PER_SECOND
    answers = -(-workload.golden_rows // GOLDEN_BATCH) * GOLDEN_TOKENS * model.num_layers * GOLDEN_SECONDS_PER_LAYER
    saves = workload.evals_per_epoch * (workload.num_epochs if workload.max_steps is None else 1.0) * SAVE_SECONDS
    seconds = {
        "download": size / DOWNLOAD_BYTES_PER_SECOND if download else 0.0,
        "start": START_SECONDS + load,
        "train": tokens / tokens_per_second + saves,
        "evaluate": evaluated / (tokens_per_second * forward),
        "golden": (2 + merge) * (answers + load) + (1 + merge) * WORKER_SECONDS if workload.golden_rows else 0.0,
        "merge": size / MERGE_BYTES_PER_SECOND + WORKER_SECONDS if merge else 0.0,
        "verify": WORKER_SECONDS + 2 * load if merge else 0.0,
    }
    hours = sum(seconds.values()) / 3600
    return Cost(
        hours=hours,
        usd=None if usd_per_hour is None else hours * usd_per_hour,
        parts_hours={part: value / 3600 for part, value in seconds.items()},
        tokens=round(tokens),
        assumptions=tuple(_assumptions(workload, download=download, merge=merge)),
    )


def _assumptions(workload: Workload, *, download: bool, merge: bool) -> list[str]:
    said = [f"a trainer starts in {START_SECONDS:.0f} s", f"weights load at {LOAD_BYTES_PER_SECOND / 1e9:g} GB/s"]
    if download:
        said.append(f"the base downloads at {DOWNLOAD_BYTES_PER_SECOND / 1e6:g} MB/s")
    if merge:
        said.append(f"the merge writes {MERGE_BYTES_PER_SECOND / 1e9:g} GB/s")
    if workload.golden_rows:
        said.append(f"each golden prompt is answered with {GOLDEN_TOKENS} tokens, {GOLDEN_BATCH} prompts at a time")
    return said
