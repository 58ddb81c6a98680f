"""Axolotl 0.19: a config file read by its own command line."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from launcher.catalog.capability import FLASH_ATTENTION_2, PACKED_SDPA_IN_BFLOAT16, TRITON
from launcher.trainers.axolotl.releases import RELEASES
from launcher.trainers.base import Trainer, supports_on_any

if TYPE_CHECKING:
    from launcher.catalog.types import Gpu, Stored

# What datasets 4 expands in the whole path of a file, when it resolves the relative name that a config has.
PATTERN = re.compile(r"[*?]|\[[^/]+\]")
VARIABLE = re.compile(r"\$(\w+|\{[^}/]*\})")
LIGER_ONLY = "Liger's fused cross entropy keeps no logits; "


@dataclass(frozen=True)
class Axolotl(Trainer):
    """Trains from YAML; fused LoRA kernels of its own, Liger's as a plugin."""

    def kernels(
        self, gpu: Gpu, method: str, dtype: str, lora_dropout: float, stored: Stored | None = None
    ) -> tuple[tuple[str, ...], str]:
        if gpu.kind == "cpu":
            return (), "Triton kernels need a GPU"
        if gpu.compute_capability < TRITON:
            return (), f"Triton kernels need compute capability {TRITON}, {gpu.title} has {gpu.compute_capability}"
        if dtype == "float32":
            return ("liger",), LIGER_ONLY + "the LoRA kernels are for 16-bit compute"
        if lora_dropout:
            return ("liger",), LIGER_ONLY + "the LoRA kernels gain little with dropout"
        if lora_kernels_fail(dtype, stored):
            return ("liger",), LIGER_ONLY + f"the LoRA kernels fail in {dtype} on a base stored in {stored}"
        return ("lora", "liger"), "fused LoRA saves activations, Liger's fused cross entropy keeps no fp32 logits"

    def attention(self, gpu: Gpu, packing: bool, dtype: str) -> tuple[str, str]:
        if packing and gpu.kind == "cuda" and dtype == "bfloat16" and gpu.compute_capability < PACKED_SDPA_IN_BFLOAT16:
            return "flash_attention_2", "packed rows: bf16 SDPA below compute capability 9.0 may give a loss of 0"
        return "sdpa", "part of PyTorch, with FlashAttention inside where the card has it; nothing to install"

    def packing(self, gpu: Gpu, dtype: str) -> tuple[bool, str]:
        if gpu.kind == "cpu":
            return False, "one row per sequence: rows are kept apart by a kernel of the GPU"
        if gpu.compute_capability < FLASH_ATTENTION_2 or dtype == "float32":
            return False, "one row per sequence: what keeps packed rows apart needs 16 bit and Ampere or newer"
        if gpu.compute_capability < PACKED_SDPA_IN_BFLOAT16 and dtype == "bfloat16":
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

    def folder_fault(self, folder: str) -> str | None:
        for what, found in (("a pattern", PATTERN.search(folder)), ("a variable", VARIABLE.search(folder))):
            if found:
                return f"Axolotl takes {found[0]!r} in the path of its data for {what}"
        return None

    def conflicts(self, values: Mapping[str, Any], gpu: Gpu, stored: Stored | None = None) -> list[str]:
        found = super().conflicts(values, gpu, stored)
        dtype = values.get("compute_dtype")
        if "lora" in (values.get("kernels") or ()) and lora_kernels_fail(dtype, stored):
            found.append(
                f"kernels lora: Axolotl's LoRA kernels fail in {dtype} on a base stored in {stored}; "
                "leave them out (kernels=[liger]), or take the base in 16 bit"
            )
        return found


def lora_kernels_fail(dtype: str | None, stored: Stored | None) -> bool:
    """Whether Axolotl's LoRA kernels stop in the first backward pass.

    They dequantise to the dtype of the quantisation state, and the backward passes of LoRA_QKV and LoRA_MLP then add
    the product to a gradient in the compute dtype, in place, where autocast does not reach (axolotl 0.19,
    kernels/lora.py: ``grad_X.addmm_``): "self and mat2 must have the same dtype". A base that is quantised while it
    loads has a state of the compute dtype; a stored one keeps the dtype it was quantised from.
    tests/acceptance/test_stored_base.py runs them.
    """
    return stored is not None and stored.dtype not in (None, dtype)


TRAINER = Axolotl(
    name="axolotl",
    title="Axolotl",
    distribution="axolotl",
    releases=RELEASES,
    marks=(frozenset({"base_model"}), frozenset({"datasets"}), frozenset({"adapter"})),
    schema_mode="lax",
    templates={"config.yaml": "axolotl/config.yaml.j2"},
    copies={},
    command="axolotl train config.yaml --launcher python",
    environment={"AXOLOTL_DO_NOT_TRACK": "1"},
    is_default=True,
    needs_semaphores=True,  # datasets 4 starts a pool for one process too
)
