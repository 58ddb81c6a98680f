"""What the validator looks up beside a config: the base model's architecture and the card. No network, no torch."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from launcher.catalog.texts import model_named, read
from launcher.resources import resource
from launcher.rules.base import Architecture, Card

PLAIN_LINEARS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
# Linear layers by family (transformers' modelling code), for models that are in no catalog.
LINEARS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2"), PLAIN_LINEARS),
    "phi3": ("qkv_proj", "o_proj", "gate_up_proj", "down_proj"),
}
# Families by a part of the hub name, for models that are in no catalog; the first match wins.
FAMILY_BY_NAME: tuple[tuple[str, str], ...] = (
    (r"gemma-?3n", "gemma3n"),
    (r"gemma-?4", "gemma4"),
    (r"gemma-?3", "gemma3"),
    (r"gemma-?2", "gemma2"),
    (r"gemma", "gemma"),
    (r"qwen-?3\.5", "qwen3_5"),
    (r"qwen-?3-\d+b-a\d+b", "qwen3_moe"),
    (r"qwen-?3", "qwen3"),
    (r"qwen-?2(\.5)?", "qwen2"),
    (r"glm-?4\.\d", "glm4_moe"),
    (r"gpt-?oss", "gpt_oss"),
    (r"falcon-?h1", "falcon_h1"),
    (r"mixtral", "mixtral"),
    (r"mistral", "mistral"),
    (r"llama", "llama"),
    (r"(^|[/-])(flan-)?t5", "t5"),
)

# A name that says which layers the model has: a dense text model of a known generation, not one of its variants.
PLAIN_NAME = re.compile(r"llama-?[23](\.\d)?-|mistral-7b|qwen2(\.5)?-\d|qwen3-\d|gemma-2-\d|phi-3-")
VARIANT = re.compile(r"moe|-a\d+b|next|vl\b|vision|omni|coder-next|scout|maverick")


def architecture_of(base_model: str, folder: Path) -> Architecture:
    """What is known of ``base_model``: from its config.json when it is a folder (relative to ``folder``), from ql's
    catalog, or from its name alone. Never fails: what is not known is None.
    """
    if not base_model:
        return Architecture()
    found = _from_folder(folder / base_model) or _from_catalog(base_model) or _from_name(base_model)
    return replace(found, fp16_overflow=overflow_families().get(found.model_type or "", ""))


def _from_folder(folder: Path) -> Architecture | None:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(config, dict):
        return None
    family, limit = config.get("model_type"), config.get("max_position_embeddings")
    family = family if isinstance(family, str) else None
    stored = None
    if config.get("quantization_config"):
        from launcher.catalog.stored import read_stored

        stored = read_stored(folder, config)
    return Architecture(
        family,
        limit if isinstance(limit, int) else None,
        LINEARS.get(family or "", ()),
        stored_in=str(stored or ""),
        stored_dtype=stored.dtype if stored else None,
        source="its config.json",
    )


def _from_catalog(base_model: str) -> Architecture | None:
    name = model_named(base_model)
    if name is None:
        return None
    data = _plain_yaml(resource("presets", "models", f"{name}.yaml"))
    modules = data.get("linear_modules") or PLAIN_LINEARS
    return Architecture(data["model_type"], data["max_position_embeddings"], tuple(modules), source=f"ql's {name}")


def _from_name(base_model: str) -> Architecture:
    name = base_model.lower()
    family = next((family for pattern, family in FAMILY_BY_NAME if re.search(pattern, name)), None)
    known = family if family and PLAIN_NAME.search(name) and not VARIANT.search(name) else ""
    return Architecture(family, linear_modules=LINEARS.get(known, ()), source="by its name")


@cache
def overflow_families() -> dict[str, str]:
    """Families whose activations overflow fp16, each with its evidence (presets/fp16_overflow.yaml)."""
    families: dict[str, str] = _plain_yaml(resource("presets", "fp16_overflow.yaml"))["families"]
    return families


def _plain_yaml(path: Path) -> dict[str, Any]:
    """One of ql's own files, which its tests hold against their schemas; so without positions and checks."""
    from launcher.yaml_source import plain

    data: dict[str, object] = plain(read(path))
    return data


def card_of(name: str) -> Card:
    """The card ``name`` of the catalog. Raises Unreadable, with the nearest name, when there is none."""
    from launcher.catalog import load_gpu

    gpu = load_gpu(name)
    return Card(gpu.name, gpu.compute_capability, gpu.usable_gib, gpu.kind == "cpu")
