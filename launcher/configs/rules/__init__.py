"""Every rule of ``ql validate``, by its code."""

from __future__ import annotations

from launcher.configs.rules import (
    advice,
    data,
    dead_keys,
    deprecated,
    job,
    kernels,
    memory,
    refused,
    refused_data,
    refused_kernels,
    refused_methods,
    schedule,
    unsloth,
    values,
    warned,
)
from launcher.rules.base import RULES, Rule

__all__ = ["MODULES", "RULES", "Rule"]

# Importing a module registers its rules.
MODULES = (
    advice,
    data,
    dead_keys,
    deprecated,
    job,
    kernels,
    memory,
    refused,
    refused_data,
    refused_kernels,
    refused_methods,
    schedule,
    unsloth,
    values,
    warned,
)
