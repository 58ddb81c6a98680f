"""What a name in an adapter's file means, whoever saved it: peft, a raw state dict, a compiled or wrapped module."""

from __future__ import annotations

import re
from dataclasses import dataclass

PREFIX = "base_model.model."  # peft's own
# What torch.compile, FSDP, activation checkpointing and DeepSpeed put into the names of what they wrap.
_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
_NAMED = r"(?:\.(?P<adapter>(?!(?:weight|bias)$)[^.]+))?"  # an adapter's own name, which peft leaves out when it saves
_LOW_RANK = re.compile(
    rf"(?P<module>.+?)\.(?P<part>lora_[AB]|lora_embedding_[AB]|lora_magnitude_vector){_NAMED}(?:\.(?P<leaf>weight|bias))?"
)
_TOKENS = re.compile(rf"(?P<module>.+)\.token_adapter\.trainable_tokens_delta{_NAMED}")
_SAVED = re.compile(rf"(?P<module>.+)\.modules_to_save{_NAMED}\.(?P<leaf>weight|bias)")
_BASE = re.compile(r"(?P<module>.+)\.(?P<leaf>weight|bias)")
# peft's copies of what it replaced.
_COPIES = re.compile(r"\.(original_module|token_adapter\.(base_layer|trainable_tokens_original))\.")


@dataclass(frozen=True)
class Key:
    """``kind`` is low_rank, tokens, saved (modules_to_save), base, copy or unknown.

    ``part`` is such as lora_A.weight, or for a whole tensor weight or bias. ``adapter`` is the adapter's name where the
    file has it, as raw state dicts do.
    """

    kind: str
    module: str = ""
    part: str = ""
    adapter: str = ""


def plain_name(key: str) -> str:
    """A name without peft's prefix, once or more often, and without what wraps a module."""
    name = _WRAPPERS.sub("", key)
    while name.startswith((PREFIX, "module.")):
        name = name.removeprefix(PREFIX).removeprefix("module.")
    return name


def read_key(key: str) -> Key:
    """The meaning of one name."""
    name = plain_name(key)
    if _COPIES.search(f".{name}"):
        return Key("copy")
    if found := _LOW_RANK.fullmatch(name):
        part, leaf = found["part"], found["leaf"]
        whole = f"{part}.{leaf or 'weight'}" if part in ("lora_A", "lora_B") else part
        return Key("low_rank", found["module"], whole, found["adapter"] or "")
    if found := _TOKENS.fullmatch(name):
        return Key("tokens", found["module"], "", found["adapter"] or "")
    if found := _SAVED.fullmatch(name):
        return Key("saved", found["module"], found["leaf"], found["adapter"] or "")
    if "lora_" not in name and (found := _BASE.fullmatch(name)):
        return Key("base", found["module"], found["leaf"])
    return Key("unknown")
