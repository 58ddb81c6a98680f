"""Jobs to be sized: a model of the catalog under a trainer, on an H200."""

from __future__ import annotations

from dataclasses import replace

from launcher.catalog import load_model
from launcher.sizing import MemoryRequest, TrainerTerms
from launcher.trainers import get_trainer

H200_GIB = 139.7


def job(
    model: str, trainer: str | TrainerTerms, sequence_len: int = 2048, micro_batch: int = 2, **changes: object
) -> MemoryRequest:
    """QLoRA r=16 on all linear layers, sdpa, paged 8-bit AdamW, unless ``changes`` say otherwise."""
    terms = get_trainer(trainer).terms if isinstance(trainer, str) else trainer
    request = MemoryRequest(load_model(model), terms, "qlora", sequence_len, micro_batch, usable_gib=H200_GIB)
    return replace(request, **changes)
