"""The micro-batch that fits: largest first, with the accumulation that keeps the effective batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from launcher.sizing.request import MemoryEstimate

MAX_MICRO_BATCH = 64

# (micro-batch, gradient checkpointing, activation offload) -> estimate
Estimator = Callable[[int, bool, bool], MemoryEstimate]


@dataclass(frozen=True)
class BatchSolution:
    """How a job is cut to fit. When even one row does not, ``fits`` is False and ``estimate`` is of the nearest job."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    eval_batch_size: int
    gradient_checkpointing: bool
    activation_offload: bool
    estimate: MemoryEstimate
    fits: bool
    reason: str
    eval_reason: str
    checkpointing_reason: str
    offload_reason: str


def solve_batch(
    effective_batch_size: int,
    estimate: Estimator,
    *,
    micro_batch: int | None = None,
    checkpointing: bool | None = None,
    offload: bool | None = None,
    largest: int = MAX_MICRO_BATCH,
) -> BatchSolution:
    """The largest micro-batch whose ``estimate`` fits its budget, and the largest evaluation batch up to it that fits.

    Micro-batches are divisors of ``effective_batch_size``, so that accumulation reaches it exactly, up to ``largest``
    rows. Checkpointing is always on unless fixed: without it a 7B needs 7 GiB for each row of 2,048 tokens. Checkpoints
    stay on the device if any micro-batch fits so; else they go to the host, which costs transfers. None leaves a value
    to the solver, anything else fixes it.
    """
    recompute = True if checkpointing is None else checkpointing
    divisors = [n for n in range(min(effective_batch_size, largest), 0, -1) if effective_batch_size % n == 0]
    sizes = [micro_batch] if micro_batch else divisors
    either = [False, True] if recompute else [False]  # only checkpoints can be offloaded
    offloads = either if offload is None else [offload]

    nearest: tuple[int, bool, MemoryEstimate] | None = None
    for where in offloads:
        for size in sizes:
            found = estimate(size, recompute, where)
            # Where nothing fits, show the job that comes nearest; offloading only where it helps.
            if nearest is None or _fits(found) or round(found.peak_gib, 2) < round(nearest[2].peak_gib, 2):
                nearest = (size, where, found)
            if _fits(found):
                break
        if nearest and _fits(nearest[2]):
            break
    assert nearest is not None
    size, where, found = nearest

    evaluated, evaluation = size, found
    for evaluated in [size] + [n for n in divisors if n < size]:
        evaluation = estimate(evaluated, recompute, where)
        if _within(evaluation.evaluation_gib, evaluation):
            break
    found = replace(found, evaluation_gib=evaluation.evaluation_gib)

    if not found.fits:
        offload_reason = "it would not fit either way"
    else:
        offload_reason = "without it not one row fits" if where else "not needed: it fits without the transfers"
    return BatchSolution(
        micro_batch_size=size,
        gradient_accumulation_steps=max(1, effective_batch_size // size),
        eval_batch_size=evaluated,
        gradient_checkpointing=recompute,
        activation_offload=where,
        estimate=found,
        fits=found.fits,
        reason=_size_reason(size, effective_batch_size, found, given=micro_batch is not None),
        eval_reason=_eval_reason(evaluated, size, found),
        checkpointing_reason="recomputing activations is what lets a useful batch fit"
        if checkpointing is None
        else "given",
        offload_reason=offload_reason if offload is None else "given",
    )


def _within(needed_gib: float, estimate: MemoryEstimate) -> bool:
    return estimate.budget_gib is None or needed_gib <= estimate.budget_gib


def _fits(estimate: MemoryEstimate) -> bool:
    """Whether training fits; evaluation is cut to fit afterwards."""
    return _within(estimate.peak_gib, estimate)


def _eval_reason(evaluated: int, size: int, found: MemoryEstimate) -> str:
    memory = f"evaluation needs {found.evaluation_gib:.1f} GiB"
    if evaluated == size:
        return f"training's micro-batch: {memory}"
    return f"smaller than training's: evaluation keeps whole logits, {memory}"


def _size_reason(size: int, effective: int, found: MemoryEstimate, *, given: bool) -> str:
    memory = f"{found.peak_gib:.1f} GiB"
    if found.budget_gib is not None:
        memory += f" of {found.budget_gib:.1f} GiB"
    if not _fits(found):
        return f"does not fit: {size} {'row needs' if size == 1 else 'rows need'} {memory}"
    if given:
        return f"given; needs {memory}"
    if size == effective:
        return f"the whole effective batch fits: {memory}"
    return f"the largest divisor of the effective batch that fits: {memory}"
