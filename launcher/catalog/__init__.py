"""GPUs, models, recipes and presets: YAML files under presets/, each checked against its schema when read."""

from __future__ import annotations

from launcher.catalog.architecture import count_parameters
from launcher.catalog.by_hand import model_by_hand
from launcher.catalog.load import (
    find_gpu,
    list_gpus,
    list_models,
    list_presets,
    list_recipes,
    load_fp16_overflow,
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
    "load_fp16_overflow",
    "load_gpu",
    "load_model",
    "load_preset",
    "load_recipe",
    "model_by_hand",
    "resolve_base",
    "whole_name",
]
