"""What the validator looks up beside a config: the base model's architecture and the card. No network, no torch."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.catalog.families import family_named, find_family
from launcher.catalog.texts import model_named, read
from launcher.resources import resource
from launcher.rules.base import Architecture, Card

# In the name of a variant, whose layers the family's name does not tell.
VARIANT = re.compile(r"moe|-a\d+b|next|vl\b|vision|omni|coder-next|scout|maverick")


def architecture_of(base_model: str, folder: Path) -> Architecture:
    """What is known of ``base_model``: from its config.json when it is a folder (relative to ``folder``), from ql's
    catalog, or from its name alone. Never fails: what is not known is None.
    """
    if not base_model:
        return Architecture()
    found = _from_folder(folder / base_model) or _from_catalog(base_model) or _from_name(base_model)
    family = find_family(found.model_type)
    return replace(found, fp16_overflow=family.fp16 if family else "")


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
        _linears(family),
        stored_in=str(stored or ""),
        stored_dtype=stored.dtype if stored else None,
        source="its config.json",
        folder=folder,
    )


def _from_catalog(base_model: str) -> Architecture | None:
    name = model_named(base_model)
    if name is None:
        return None
    data = _plain_yaml(resource("presets", "models", f"{name}.yaml"))
    modules = data.get("linear_modules") or _linears(data["model_type"])
    return Architecture(data["model_type"], data["max_position_embeddings"], tuple(modules), source=f"ql's {name}")


def _from_name(base_model: str) -> Architecture:
    family, plain = family_named(base_model)
    known = family if family and plain and not VARIANT.search(base_model.lower()) else None
    modules = known.linear_modules if known else ()
    return Architecture(family.model_type if family else None, linear_modules=modules, source="by its name")


def _linears(model_type: str | None) -> tuple[str, ...]:
    """Linear layers of a family that can be launched and has no experts; () where they are not known."""
    family = find_family(model_type)
    return family.linear_modules if family and family.launched and not family.experts else ()


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
