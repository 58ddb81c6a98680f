"""Every rule of ``ql validate``, by its code."""

from __future__ import annotations

from launcher.configs.rules import (
    advice,
    data,
    dead_keys,
    deprecated,
    kernels,
    memory,
    refused,
    refused_data,
    schedule,
    unsloth,
    values,
    warned,
)
from launcher.configs.rules.base import RULES, Rule

__all__ = ["RULES", "Rule"]
_ = (advice, data, dead_keys, deprecated, kernels, memory, refused, refused_data, schedule, unsloth, values, warned)
