"""Every rule of ``ql validate``, by its code."""

from __future__ import annotations

from launcher.configs.rules import (
    advice,
    dead_keys,
    deprecated,
    kernels,
    refused,
    refused_data,
    schedule,
    values,
    warned,
)
from launcher.configs.rules.base import RULES, Rule

__all__ = ["RULES", "Rule"]
_ = (advice, dead_keys, deprecated, kernels, refused, refused_data, schedule, values, warned)
