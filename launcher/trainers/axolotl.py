"""Axolotl 0.19: a config file read by its own command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launcher.catalog.types import Gpu
from launcher.trainers.base import FLASH_ATTENTION_2, TRITON, Trainer, supports_on_any

HOPPER = 9.0


@dataclass(frozen=True)
class Axolotl(Trainer):
    """Trains from YAML; fused LoRA kernels of its own, Liger's as a plugin."""

    def kernels(self, gpu: Gpu, method: str, dtype: str, lora_dropout: float) -> tuple[tuple[str, ...], str]:
        if gpu.kind == "cpu":
            return (), "Triton kernels need a GPU"
        if gpu.compute_capability < TRITON:
            return (), f"Triton kernels need compute capability {TRITON}, {gpu.title} has {gpu.compute_capability}"
        if dtype == "float32":
            return ("liger",), "Liger's fused cross entropy keeps no logits; the LoRA kernels are for 16-bit compute"
        if lora_dropout:
            return ("liger",), "Liger's fused cross entropy keeps no logits; the LoRA kernels gain little with dropout"
        return ("lora", "liger"), "fused LoRA saves activations, Liger's fused cross entropy keeps no fp32 logits"

    def attention(self, gpu: Gpu, packing: bool, dtype: str) -> tuple[str, str]:
        if packing and gpu.kind == "cuda" and dtype == "bfloat16" and gpu.compute_capability < HOPPER:
            return "flash_attention_2", "packed rows: bf16 SDPA below compute capability 9.0 may give a loss of 0"
        return "sdpa", "part of PyTorch, with FlashAttention inside where the card has it; nothing to install"

    def packing(self, gpu: Gpu, dtype: str) -> tuple[bool, str]:
        if gpu.kind == "cpu":
            return False, "one row per sequence: rows are kept apart by a kernel of the GPU"
        if gpu.compute_capability < FLASH_ATTENTION_2 or dtype == "float32":
            return False, "one row per sequence: what keeps packed rows apart needs 16 bit and Ampere or newer"
        if gpu.compute_capability < HOPPER and dtype == "bfloat16":
            return False, "one row per sequence: Axolotl warns of a loss of 0 for packed SDPA in bf16 before Hopper"
        return True, "PyTorch's varlen attention keeps packed rows apart"

    def optimizer(self, gpu: Gpu, wanted: str) -> tuple[str, str]:
        if gpu.kind == "cpu" and wanted.startswith("paged_"):
            return "adamw_torch_fused", "nothing to page on a CPU"
        return wanted, "as the recipe says"

    def supports(self, setting: str, value: Any, gpu: Gpu) -> str | None:
        if setting == "kernels" and value:
            if gpu.kind == "cpu":
                return "Triton kernels need a GPU"
            if gpu.compute_capability < TRITON:
                return f"Triton kernels need compute capability {TRITON}, {gpu.title} has {gpu.compute_capability}"
        return supports_on_any(setting, value, gpu)


AXOLOTL = Axolotl(
    name="axolotl",
    title="Axolotl",
    requires=("axolotl==0.19.0", "torch>=2.11,<=2.13"),
    distribution="axolotl",
    schema="axolotl-0.19.json",
    templates={"config.yaml": "axolotl.yaml.j2"},
    copies={},
    command="axolotl train config.yaml --launcher python",
)
