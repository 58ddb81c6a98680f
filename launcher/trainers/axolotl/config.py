"""Axolotl's config as its rules read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from launcher.rules.base import Config, Hit
from launcher.rules.base import rule as any_rule

# The old attention flags and what each stands for, the one that wins first.
ATTENTION_FLAGS = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
VARLEN_ATTENTION = frozenset(
    {
        "flash_attention_2",
        "flash_attention_3",
        "flash_attention_4",
        "flash_attention_torch",
        "flex_attention",
        "xformers",
        "sage",
        "kernels-community/flash-attn2",
        "kernels-community/flash-attn3",
        "kernels-community/sage-attention",
    }
)


class AxolotlConfig(Config):
    """With what Axolotl makes of several keys together."""

    def datasets(self, key: str = "datasets") -> Iterator[tuple[int, dict[str, Any]]]:
        """The data sets that are mappings, with their index."""
        value = self.get(key)
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict):
                yield index, item

    @property
    def adapter(self) -> str | None:
        """Name of the adapter, or None for full fine-tuning."""
        value: str | None = self.get("adapter") or None
        return value

    @property
    def is_lora(self) -> bool:
        return self.adapter in ("lora", "qlora")

    @property
    def trains_adapter(self) -> bool:
        return self.is_lora

    @property
    def is_estimated(self) -> bool:
        """Not full fine-tuning, 8 bit or preference training."""
        return self.is_lora and not self.get("load_in_8bit") and not self.get("rl")

    @property
    def has_eval_set(self) -> bool:
        """Whether Axolotl holds out rows or reads an evaluation set (``val_set_size`` defaults to 0)."""
        return bool(self.get("val_set_size") or self.get("test_datasets"))

    @property
    def attention(self) -> str | None:
        """The attention that Axolotl ends up with: ``attn_implementation``, or what an old flag stands for."""
        chosen = self.get("attn_implementation")
        if not chosen and self.get("gemma4_hybrid_attn_impl"):
            return "flash_attention_2"
        return chosen or next((name for flag, name in ATTENTION_FLAGS.items() if self.data.get(flag)), None)

    @property
    def attention_packs(self) -> bool:
        """Whether that attention keeps packed rows apart by their positions (ATTN_IMPLS_SUPPORTING_PACKING)."""
        name = self.attention or ""
        if self.version >= (0, 19):  # a revision or a kernel may follow the name
            name = name.split(":", 1)[0].split("@", 1)[0].strip()
        return name in VARLEN_ATTENTION


C = TypeVar("C", bound=Config)
rule: Callable[..., Callable[[Callable[[C], Iterator[Hit]]], Callable[[C], Iterator[Hit]]]]
rule = partial(any_rule, kinds=("axolotl",))
