"""What a run needs beside the card: host memory of each stage, and disk space. GiB everywhere."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.catalog.architecture import embedding_parameters, lora_parameters
from launcher.catalog.types import Model
from launcher.sizing.request import GIB, MemoryRequest

# One adapter checkpoint holds the adapter in fp32 (4 bytes per weight), the optimizer's two 8-bit moments (2 bytes) and
# a tokenizer; scheduler, random states and logs stay below a MiB.
CHECKPOINT_BYTES_PER_WEIGHT = 6.0
TOKENIZER_GIB = 0.02
CHECKPOINTS_KEPT = 3


@dataclass(frozen=True)
class DiskEstimate:
    """GiB that a run writes. ``base_gib`` is 0 for a base that is on disk already."""

    base_gib: float
    checkpoints_gib: float
    adapter_gib: float
    merged_gib: float

    @property
    def total_gib(self) -> float:
        return self.base_gib + self.checkpoints_gib + self.adapter_gib + self.merged_gib


def disk_space(
    request: MemoryRequest, *, download: bool, merge: bool = True, checkpoints: int = CHECKPOINTS_KEPT
) -> DiskEstimate:
    """Disk space of a run: the downloaded base (2 bytes per weight, less where it is stored in 4 bit), ``checkpoints``
    of the trainer and one more while the oldest is not yet deleted, the adapter in 16 bit, and the merged model (2
    bytes per weight) with its shards written beside nothing else.
    """
    weights = lora_parameters(request.model, request.lora_r, request.lora_target_modules)
    whole = request.model.parameters * 2 / GIB
    stored = whole
    if request.prequantized:
        plain = embedding_parameters(request.model)
        stored = ((request.model.parameters - plain) * 0.516 + plain * 2) / GIB
    one = weights * CHECKPOINT_BYTES_PER_WEIGHT / GIB + TOKENIZER_GIB
    return DiskEstimate(
        base_gib=stored if download else 0.0,
        checkpoints_gib=(checkpoints + 1) * one,
        adapter_gib=weights * 2 / GIB + TOKENIZER_GIB,
        merged_gib=whole + TOKENIZER_GIB if merge else 0.0,
    )


def merge_host_memory(model: Model) -> float:
    """GiB of host memory of a streamed merge on the CPU: the process, and the largest tensor in fp32 with its delta and
    its 16-bit copy.
    """
    largest = max(model.vocab_size * model.hidden_size, model.hidden_size * model.intermediate_size)
    return 1.0 + largest * 10 / GIB
