"""Axolotl's config as its rules read it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from launcher.rules.base import Config, Hit
from launcher.rules.base import rule as any_rule
from launcher.trainers.axolotl.releases import RELEASES
from launcher.trainers.releases import Release, defaults_in

LORA_KERNELS = ("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel")

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


# Initialisations that leave the base as it is. Others (pissa, olora, corda, loftq, lora_ga) subtract from it before
# training: base and adapter are then not the model that was trained (peft's tuners/lora/layer.py).
SAFE_INITS = (None, True, False, "gaussian", "eva", "orthogonal", "mica")
INIT_HINT = "gaussian, or remove it"


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
    def release(self) -> Release:
        """The release that it is checked for."""
        return next(release for release in RELEASES if release.version == self.version)

    def or_default(self, key: str) -> Any:
        """The value of a key, or that release's default of it, where another one has another."""
        value = self.get(key)
        return defaults_in(RELEASES, self.version).get(key) if value is None else value

    def lists_plugin(self, plugin: str) -> bool:
        """Whether ``plugins`` names ``plugin`` ("axolotl.integrations.liger.LigerPlugin"), from whichever module."""
        package, _, name = plugin.rpartition(".")
        listed = self.get("plugins") or []
        return any(isinstance(item, str) and item.startswith(package) and item.endswith(name) for item in listed)

    @property
    def has_fsdp_2_alone(self) -> bool:
        """Whether that release has no FSDP 1."""
        return self.version >= (0, 20)

    @property
    def quantises(self) -> bool:
        """Whether bitsandbytes makes a 4-bit base of it."""
        return bool(self.get("load_in_4bit")) and self.adapter in ("qlora", "mixlora")

    def runs_kernel(self, key: str) -> bool:
        """Whether that LoRA kernel is on: as the file says, or by itself where it names none of them."""
        if self.get(key) is not None:
            return bool(self.get(key)) and bool(self.adapter)
        if not self.is_lora or any(self.get(name) is not None for name in LORA_KERNELS):
            return False
        return not self.any_of("rl", "trust_remote_code", "nvfp4_merge_aware") and not (
            self.adapter == "lora" and self.get("load_in_8bit")
        )

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
