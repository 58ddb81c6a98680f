"""What a size is asked for, and what comes back: plain data. Memory is GiB (2^30 bytes) everywhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from launcher.catalog.types import Model

if TYPE_CHECKING:
    from launcher.sizing.terms import TrainerTerms

GIB = 2**30
MARGIN = 0.04  # of usable memory left free: the model's worst error on the device peaks that it was calibrated on


@dataclass(frozen=True)
class Correction:
    """What a run on one machine showed beside its prediction: measured once, used for every estimate from then on.

    ``activations`` multiplies what a step allocates and frees (1: as predicted).
    ``context_gib`` is what the device showed above reserved memory, paged state not counted; None: the model's own.
    """

    activations: float = 1.0
    context_gib: float | None = None


@dataclass(frozen=True)
class MemoryRequest:
    """One training job, and what its trainer says of itself. Lengths in tokens, batches in rows."""

    model: Model
    trainer: TrainerTerms
    method: Literal["qlora", "lora"]
    sequence_len: int
    micro_batch_size: int
    eval_batch_size: int = 1
    lora_r: int = 16
    lora_target_modules: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
    double_quant: bool = True
    optimizer: str = "paged_adamw_8bit"
    gradient_checkpointing: bool = True
    activation_offload: bool = False
    attn_implementation: str = "sdpa"
    kernels: tuple[str, ...] = ()
    compute_dtype: str = "bfloat16"
    on_cpu: bool = False
    usable_gib: float | None = None  # the card's; None: not known, so nothing is said about fitting
    packing: bool = False  # rows are joined up to sequence_len, so that nothing is padded
    equal_rows: bool = False  # all rows of a batch are equally long, so that attention needs no mask
    lora_dropout: float = 0.0
    prequantized: bool = False  # the base is stored in 4 bit: loading it makes no 16-bit weights on the way
    correction: Correction = Correction()  # what `ql calibrate` found on this machine

    @property
    def tokens(self) -> int:
        """Tokens of one micro-batch, padding included."""
        return self.sequence_len * self.micro_batch_size


@dataclass(frozen=True)
class MemoryEstimate:
    """Peak memory of a job.

    ``peak_gib`` is what the device shows, and what runs out: reserved by the allocator, plus CUDA context and paged
    optimizer state. ``allocated_gib`` is torch's ``max_memory_allocated``. On a CPU both are host memory.
    ``breakdown_gib`` adds up to ``peak_gib``. ``evaluation_gib`` is the device's peak while evaluating.
    ``budget_gib`` is the card's usable memory less `MARGIN`; None when the card is not known. ``load_gib`` is the
    device's peak while the base is loaded,
    ``evaluation_allocated_gib`` the allocator's while evaluating.
    """

    peak_gib: float
    allocated_gib: float
    reserved_gib: float
    evaluation_gib: float
    host_gib: float
    breakdown_gib: dict[str, float]
    budget_gib: float | None = None
    load_gib: float = 0.0
    evaluation_allocated_gib: float = 0.0

    @property
    def needed_gib(self) -> float:
        """The device's peak over loading, training and evaluation."""
        return max(self.peak_gib, self.evaluation_gib, self.load_gib)

    @property
    def fits(self) -> bool:
        """Whether training and evaluation stay within the budget; True where there is none."""
        return self.budget_gib is None or self.needed_gib <= self.budget_gib


def budget(usable_gib: float) -> float:
    """GiB that a job may show on the device: usable memory less `MARGIN`."""
    return usable_gib * (1 - MARGIN)
