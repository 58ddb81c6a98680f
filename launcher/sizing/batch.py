"""The micro-batch that fits: largest first, with the accumulation that keeps the effective batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from launcher.sizing.request import MemoryEstimate

MAX_MICRO_BATCH = 64

# (micro-batch, gradient checkpointing, activation offload) -> estimate
Estimator = Callable[[int, bool, bool], MemoryEstimate]


@dataclass(frozen=True)
class BatchSolution:
    """How a job is cut to fit. When even one row does not, ``fits`` is False and ``estimate`` is that of one row."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    gradient_checkpointing: bool
    activation_offload: bool
    estimate: MemoryEstimate
    fits: bool
    reason: str
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
    """The largest micro-batch whose ``estimate`` fits its budget, evaluation with the same batch included.

    Micro-batches are divisors of ``effective_batch_size``, so that accumulation reaches it exactly, up to ``largest``
    rows. Checkpointing is always on unless fixed: without it a 7B needs 7 GiB for each row of 2,048 tokens. Checkpoints
    stay on the device if any micro-batch fits so; else they go to the host, which costs transfers. None leaves a value
    to the solver, anything else fixes it.
    """
    recompute = True if checkpointing is None else checkpointing
    if micro_batch is not None:
        sizes = [micro_batch]
    else:
        sizes = [n for n in range(min(effective_batch_size, largest), 0, -1) if effective_batch_size % n == 0]
    either = [False, True] if recompute else [False]  # only checkpoints can be offloaded
    offloads = either if offload is None else [offload]

    chosen: tuple[int, bool, MemoryEstimate] | None = None
    nearest: tuple[int, bool, MemoryEstimate] | None = None
    for where in offloads:
        for size in sizes:
            found = estimate(size, recompute, where)
            if found.fits:
                chosen = (size, where, found)
                break
            # Nothing fits so far: remember the job that comes nearest; offloading only where it helps.
            if nearest is None or round(found.needed_gib, 2) < round(nearest[2].needed_gib, 2):
                nearest = (size, where, found)
        if chosen:
            break
    best = chosen or nearest
    assert best is not None
    size, where, found = best

    if not found.fits:
        offload_reason = "it would not fit either way"
    else:
        offload_reason = "without it not one row fits" if where else "not needed: it fits without the transfers"
    return BatchSolution(
        micro_batch_size=size,
        gradient_accumulation_steps=max(1, effective_batch_size // size),
        gradient_checkpointing=recompute,
        activation_offload=where,
        estimate=found,
        fits=found.fits,
        reason=_size_reason(size, effective_batch_size, found, given=micro_batch is not None),
        checkpointing_reason="recomputing activations is what lets a useful batch fit"
        if checkpointing is None
        else "given",
        offload_reason=offload_reason if offload is None else "given",
    )


def _size_reason(size: int, effective: int, found: MemoryEstimate, *, given: bool) -> str:
    memory = f"{found.needed_gib:.1f} GiB"
    if found.budget_gib is not None:
        memory += f" of {found.budget_gib:.1f} GiB"
    if not found.fits:
        return f"does not fit: {size} {'row needs' if size == 1 else 'rows need'} {memory}"
    if given:
        return f"given; needs {memory}"
    if size == effective:
        return f"the whole effective batch fits: {memory}"
    return f"the largest divisor of the effective batch that fits: {memory}"
