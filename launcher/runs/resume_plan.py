"""A plan read back from a manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from launcher.errors import RunFailed
from launcher.planning.plan import Plan


def plan_of(data: Mapping[str, Any]) -> Plan:
    """A plan as the manifest holds it. Raises RunFailed when it is of another version of ql."""
    try:
        values: dict[str, Any] = {item.name: data[item.name] for item in fields(Plan)}
    except KeyError as error:
        raise RunFailed(f"this run's plan has no {error.args[0]}: it is of another version of ql") from None
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in values.items()}
    return Plan(**values)
