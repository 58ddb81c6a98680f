"""With ``--gpu``: does the run fit the card? By the same estimate that `ql estimate` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from launcher.configs.rules.base import Config, Hit, rule
from launcher.errors import QlError

if TYPE_CHECKING:
    from launcher.sizing import MemoryRequest


@rule("QL851", "error", kinds=("axolotl", "unsloth"))
def does_not_fit(c: Config) -> Iterator[Hit]:
    """A run that does not fit the card (with `--gpu`).

    It would stop with CUDA out of memory, often not in the first step but in the longest batch or the evaluation.
    """
    request = _request(c)
    if request is None or c.card is None:
        return
    from dataclasses import replace

    from launcher.sizing import estimate_memory

    estimate = estimate_memory(request)
    if estimate.fits or estimate.budget_gib is None:
        return
    largest = max(estimate.breakdown_gib, key=lambda part: estimate.breakdown_gib[part])
    message = (
        f"needs {estimate.needed_gib:.1f} GiB, and {c.card.name} has {estimate.budget_gib:.1f} GiB for a run "
        f"(the largest part: {largest.replace('_', ' ')}, {estimate.breakdown_gib[largest]:.1f} GiB)"
    )
    single = estimate_memory(replace(request, micro_batch_size=1, eval_batch_size=1))
    hint = (
        "micro_batch_size: 1 and eval_batch_size: 1 fit" if single.fits else "a shorter sequence_len, or another card"
    )
    yield c.at("micro_batch_size" if c.has("micro_batch_size") else (), message, hint)


def _request(c: Config) -> MemoryRequest | None:
    """The job as sizing sees it; None where it cannot be known: an unknown model, full fine-tuning, 8 bit, rl."""
    if c.card is None or c.card.is_cpu or c.get("rl"):
        return None
    from launcher.catalog import load_model
    from launcher.sizing import TRAINERS, MemoryRequest
    from launcher.sizing.memory import OPTIMIZER_BYTES

    unsloth = c.kind == "unsloth"
    if not unsloth and (c.get("load_in_8bit") or not c.is_lora):
        return None
    try:
        model = load_model(c.base_model)
    except QlError:
        return None
    targets = c.get("lora_target_modules")
    targeted = tuple(targets) if isinstance(targets, list) and not c.get("lora_target_linear") else model.linear_modules
    optimizer = c.get("optimizer", "adamw_torch_fused")
    if optimizer not in OPTIMIZER_BYTES:
        return None
    micro = c.get("micro_batch_size", 1)
    liger = not unsloth and c.get("liger_fused_linear_cross_entropy") and c.get("plugins")
    return MemoryRequest(
        model=model,
        trainer=TRAINERS["unsloth" if unsloth else "axolotl"],
        method="qlora" if c.get("load_in_4bit") else "lora",
        sequence_len=c.get("sequence_len", 512),
        micro_batch_size=micro,
        eval_batch_size=c.get("eval_batch_size", micro),
        lora_r=c.get("lora_r", 16),
        lora_target_modules=targeted,
        double_quant=c.get("double_quant", c.mapping("bnb_config_kwargs").get("bnb_4bit_use_double_quant", True)),
        optimizer=optimizer,
        gradient_checkpointing=bool(c.get("gradient_checkpointing")),
        activation_offload=bool(c.get("activation_offload") or c.get("activation_offloading")),
        attn_implementation=c.attention or "sdpa",
        kernels=("liger",) if liger else (),
        usable_gib=c.card.usable_gib,
    )
