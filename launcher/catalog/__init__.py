"""GPUs, models, recipes and presets: YAML files under presets/, each checked against its schema when read."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from launcher.catalog.architecture import count_parameters
    from launcher.catalog.by_hand import model_by_hand
    from launcher.catalog.load import (
        find_gpu,
        list_gpus,
        list_models,
        list_presets,
        list_recipes,
        load_gpu,
        load_model,
        load_preset,
        load_recipe,
        resolve_base,
        whole_name,
    )
    from launcher.catalog.types import Gpu, Model, Preset, Price, Recipe, Stored

__all__ = [
    "Gpu",
    "Model",
    "Preset",
    "Price",
    "Recipe",
    "Stored",
    "count_parameters",
    "find_gpu",
    "list_gpus",
    "list_models",
    "list_presets",
    "list_recipes",
    "load_gpu",
    "load_model",
    "load_preset",
    "load_recipe",
    "model_by_hand",
    "resolve_base",
    "whole_name",
]

# Where each name is. They are imported when they are asked for: whoever needs a type alone reads no YAML for it.
_PLACES = {
    "architecture": ("count_parameters",),
    "by_hand": ("model_by_hand",),
    "types": ("Gpu", "Model", "Preset", "Price", "Recipe", "Stored"),
}
_MODULE = {name: module for module, names in _PLACES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULE.get(name, 'load')}"), name)
