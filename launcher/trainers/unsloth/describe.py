"""Unsloth 2026.10: a config file of our own schema, read by the stand-alone train.py that is exported beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.trainers.base import BITSANDBYTES_OPTIMIZERS, OtherFile, Trainer, supports_on_any
from launcher.trainers.unsloth.releases import RELEASES

if TYPE_CHECKING:
    from launcher.catalog.types import Gpu, Stored

CHOOSES_ATTENTION = "Unsloth chooses its own attention: FlashAttention 2 or xformers where installed, else SDPA"


@dataclass(frozen=True)
class Unsloth(Trainer):
    """Patches the model with its own kernels; they are always on, and there are no switches for them."""

    def kernels(
        self, gpu: Gpu, method: str, dtype: str, lora_dropout: float, stored: Stored | None = None
    ) -> tuple[tuple[str, ...], str]:
        return (), "Unsloth's own kernels are always on"

    def attention(self, gpu: Gpu, packing: bool, dtype: str) -> tuple[str, str]:
        return "sdpa", CHOOSES_ATTENTION

    def packing(self, gpu: Gpu, dtype: str) -> tuple[bool, str]:
        if gpu.kind == "cpu":
            return False, "Unsloth does not pack on a CPU"
        return False, "Unsloth lays the rows of a batch end to end anyway: there is no padding to save"

    def optimizer(self, gpu: Gpu, wanted: str) -> tuple[str, str]:
        if gpu.kind == "cpu" and wanted in BITSANDBYTES_OPTIMIZERS:
            return "adamw_torch_fused", "Unsloth swaps 8-bit and paged AdamW for it on a CPU"
        return wanted, "as the recipe says"

    def supports(self, setting: str, value: Any, gpu: Gpu) -> str | None:
        if setting == "kernels" and value:
            return "Unsloth's own kernels are always on; these are Axolotl's"
        if setting == "attn_implementation" and value != "sdpa":
            return CHOOSES_ATTENTION
        if gpu.kind == "cpu":
            if setting == "packing" and value:
                return "Unsloth does not pack on a CPU"
            if setting == "optimizer" and value in BITSANDBYTES_OPTIMIZERS:
                return "Unsloth swaps it for adamw_torch_fused on a CPU: name that one"
        return supports_on_any(setting, value, gpu)


# Arguments of FastLanguageModel.from_pretrained and get_peft_model that others have too.
NOTEBOOK = frozenset(
    {
        *("model_name", "max_seq_length", "dtype", "load_in_4bit", "r", "target_modules", "lora_alpha", "bias"),
        *("lora_dropout", "use_gradient_checkpointing"),
    }
)

TRAINER = Unsloth(
    name="unsloth",
    title="Unsloth",
    distribution="unsloth",
    releases=RELEASES,
    marks=(frozenset({"base_model", "train_file"}),),
    others=(
        OtherFile(
            "an Unsloth notebook (FastLanguageModel, SFTConfig)",
            frozenset({"use_rslora", "loftq_config", "random_state", "fast_inference", "full_finetuning"}),
            NOTEBOOK,
        ),
    ),
    templates={"config.yaml": "unsloth/config.yaml.j2"},
    copies={"train.py": "unsloth/train.py"},
    command="python train.py config.yaml",
    environment={"UNSLOTH_DISABLE_STATISTICS": "1"},
)
