"""The layers of a plan: what the person set, over the preset, over the recipe; each value with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.planning.plan import SETTINGS, SOLVED, WHOLE
from launcher.planning.request import Request


class Layers:
    """Collects the decided values. ``decide`` keeps what a layer has fixed and otherwise takes the planner's value."""

    def __init__(self, request: Request, method: str, reason: str) -> None:
        recipe = request.recipes[method]
        self.values: dict[str, Any] = {}
        self.reasons: dict[str, str] = {}
        self.fixed_by: dict[str, str] = {}
        self.instead: dict[str, tuple[Any, str]] = {}  # see `Plan.instead`
        self._fix(recipe.settings, recipe.reasons, f"recipe {recipe.name}")
        if request.preset:
            # A preset is written for its own recipe: with another method only what does not depend on it carries over.
            self._fix(request.preset.settings, request.preset.reasons, f"preset {request.preset.name}")
        self._fix(request.overrides, {}, "you")
        self.values["method"] = method
        self.reasons["method"] = "set by you" if self.set_by_person("method") else reason
        if self.set_by_person("method"):
            self._instead("method", request.preset.recipe if request.preset else "qlora", reason)

    def _fix(self, settings: Mapping[str, Any], reasons: Mapping[str, str], source: str) -> None:
        for key, value in settings.items():
            if source == "you" and key in self.values:
                self._instead(key, self.values[key], self.reasons[key])
            self.values[key] = _exact(key, value)
            self.fixed_by[key] = source
            self.reasons[key] = (
                "set by you" if source == "you" else f"{source}: {reasons[key]}" if key in reasons else source
            )

    def set_by_person(self, key: str) -> bool:
        return self.fixed_by.get(key) == "you"

    def fixed(self, key: str) -> bool:
        return key in self.fixed_by

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def decide(self, key: str, value: Any, reason: str) -> Any:
        """Take ``value`` unless a layer, or an earlier decision, has settled it; return what holds."""
        if key not in self.values:
            self.force(key, value, reason)
        elif self.set_by_person(key) and key not in self.instead:
            self._instead(key, value, reason)
        return self.values[key]

    def force(self, key: str, value: Any, reason: str) -> None:
        """Set ``value`` whatever the layers say: for what follows from other values."""
        assert key in SETTINGS, key
        if self.set_by_person(key):
            self._instead(key, value, reason)
        self.values[key] = value
        self.reasons[key] = reason

    def _instead(self, key: str, value: Any, reason: str) -> None:
        if key not in SOLVED:
            self.instead[key] = value, reason


def _exact(key: str, value: Any) -> Any:
    """The value in the type of the plan's field. To a schema 16.0 is a whole number, to a trainer it may be none."""
    if key in WHOLE and isinstance(value, float):
        return int(value)
    return tuple(value) if isinstance(value, list) else value
