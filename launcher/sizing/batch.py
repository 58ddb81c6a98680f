"""The micro-batch that fits: largest first, with the accumulation that keeps the effective batch."""

from __future__ import annotations

from dataclasses import dataclass, replace

from launcher.sizing.memory import estimate_memory
from launcher.sizing.request import MemoryEstimate, MemoryRequest

MARGIN = 0.04  # of usable memory left free: the model's worst error on a device peak that it was calibrated on
MAX_MICRO_BATCH = 64


@dataclass(frozen=True)
class BatchChoice:
    """How a job is cut to fit. When even one row does not, ``fits`` is False and ``estimate`` is that of one row."""

    micro_batch_size: int
    gradient_accumulation_steps: int
    eval_batch_size: int
    gradient_checkpointing: bool
    activation_offload: bool
    estimate: MemoryEstimate
    budget_gib: float
    fits: bool
    reason: str


def budget(usable_gib: float) -> float:
    """GiB that a job may show on the device: usable memory less `MARGIN`."""
    return usable_gib * (1 - MARGIN)


def solve_batch(
    request: MemoryRequest,
    usable_gib: float,
    effective_batch_size: int,
    *,
    micro_batch_size: int | None = None,
    gradient_checkpointing: bool | None = None,
    activation_offload: bool | None = None,
    largest: int = MAX_MICRO_BATCH,
) -> BatchChoice:
    """The largest micro-batch that fits ``usable_gib`` less the margin; ``request`` gives everything else of the job.

    Micro-batches are divisors of ``effective_batch_size``, so that accumulation reaches it exactly. Tried in order:
    checkpointing with the checkpoints on the device, then offloaded to the host, which costs transfers. None leaves a
    mode to the solver; True or False fixes it, and ``micro_batch_size`` fixes that. Evaluation runs with the micro-batch of training: it saves no
    activations, so it fits where training does. ``largest`` caps the search: past it a card gains nothing.
    """
    limit = budget(usable_gib)
    checkpointing = True if gradient_checkpointing is None else gradient_checkpointing
    if activation_offload is not None:
        offloads = [activation_offload]
    else:
        # Offloading moves checkpoints: without them, or where the trainer does it anyway, there is nothing to try.
        pointless = not checkpointing or request.trainer.offloads_checkpoints or request.on_cpu
        offloads = [False] if pointless else [False, True]
    divisors = [n for n in range(min(effective_batch_size, largest), 0, -1) if effective_batch_size % n == 0]
    sizes = [micro_batch_size] if micro_batch_size else divisors
    choice = None
    for offload in offloads:
        for size in sizes:
            job = replace(
                request,
                micro_batch_size=size,
                eval_batch_size=size,
                gradient_checkpointing=checkpointing,
                activation_offload=offload,
                usable_gib=usable_gib,
            )
            estimate = estimate_memory(job)
            needed = max(estimate.peak_gib, estimate.evaluation_gib)
            fits = needed <= limit
            choice = BatchChoice(
                micro_batch_size=size,
                gradient_accumulation_steps=effective_batch_size // size,
                eval_batch_size=size,
                gradient_checkpointing=checkpointing,
                activation_offload=offload,
                estimate=estimate,
                budget_gib=limit,
                fits=fits,
                reason=_reason(size, effective_batch_size, needed, limit, offload, fits),
            )
            if fits:
                return choice
    assert choice is not None
    return choice


def _reason(size: int, effective: int, needed: float, limit: float, offload: bool, fits: bool) -> str:
    if not fits:
        return f"does not fit: one row needs {needed:.1f} GiB of {limit:.1f}"
    largest = (
        "the whole effective batch" if size == effective else "the largest divisor of the effective batch that fits"
    )
    where = ", with checkpoints in host memory" if offload else ""
    return f"{largest}: {needed:.1f} GiB of {limit:.1f}{where}"
