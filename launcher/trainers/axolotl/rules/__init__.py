"""The rules of Axolotl's configs. Importing a module registers its rules."""

from __future__ import annotations

from launcher.trainers.axolotl.rules import (
    advice,
    checkpointing,
    data,
    dead_keys,
    deprecated,
    kernels,
    loaders,
    refused,
    refused_data,
    refused_kernels,
    refused_methods,
    refused_newer,
    refused_parallel,
    schedule,
    values,
    warned,
)

__all__ = [
    "advice",
    "checkpointing",
    "data",
    "dead_keys",
    "deprecated",
    "kernels",
    "loaders",
    "refused",
    "refused_data",
    "refused_kernels",
    "refused_methods",
    "refused_newer",
    "refused_parallel",
    "schedule",
    "values",
    "warned",
]
