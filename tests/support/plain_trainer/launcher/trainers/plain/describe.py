"""transformers and peft alone: a config of our own schema, read by the train.py that is exported beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from launcher.catalog.types import Gpu, Stored
from launcher.trainers.base import Trainer, supports_on_any
from launcher.trainers.releases import Release


@dataclass(frozen=True)
class Plain(Trainer):
    """No kernels of its own, no packing, PyTorch's attention."""

    def kernels(
        self, gpu: Gpu, method: str, dtype: str, lora_dropout: float, stored: Stored | None = None
    ) -> tuple[tuple[str, ...], str]:
        return (), "transformers brings none"

    def attention(self, gpu: Gpu, packing: bool, dtype: str) -> tuple[str, str]:
        return "sdpa", "what transformers takes by itself"

    def packing(self, gpu: Gpu, dtype: str) -> tuple[bool, str]:
        return False, "its Trainer does not pack"

    def optimizer(self, gpu: Gpu, wanted: str) -> tuple[str, str]:
        if gpu.kind == "cpu" and wanted.startswith("paged_"):
            return "adamw_torch_fused", "nothing to page on a CPU"
        return wanted, "as the recipe says"

    def supports(self, setting: str, value: Any, gpu: Gpu) -> str | None:
        if setting in ("kernels", "packing", "activation_offload") and value:
            return "transformers' Trainer has no switch for it"
        if setting == "attn_implementation" and value != "sdpa":
            return "train.py leaves attention to transformers"
        return supports_on_any(setting, value, gpu)


TRAINER = Plain(
    name="plain",
    title="Plain",
    distribution="peft",
    releases=(Release((1, 0), "plain", requires=("transformers>=5", "peft>=0.18")),),
    templates={"config.yaml": "plain/config.yaml.j2"},
    copies={"train.py": "plain/train.py"},
    command="python train.py config.yaml",
)
