"""The layers of a plan: what the person set, over the preset, over the recipe; each value with its reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.planning.plan import SETTINGS, SOLVED, WHOLE
from launcher.planning.request import Request
from launcher.records.decision import AS_IN_QLORA, Decision, Source


class Layers:
    """Collects the decisions. ``decide`` keeps what a layer has fixed and otherwise takes the planner's value.

    ``fixed_by`` says which layer fixed a value, whatever the planner had to make of it since.
    """

    def __init__(self, request: Request, method: Decision) -> None:
        """``method`` is what it is unless the person set another one."""
        recipe = request.recipes[request.overrides.get("method") or method.value]
        preset = request.preset
        self.values: dict[str, Any] = {}
        self.decisions: dict[str, Decision] = {}
        self.fixed_by: dict[str, Source] = {}
        self.instead: dict[str, Decision] = {}  # see `Plan.instead`
        self._fix(recipe.settings, recipe.reasons, "recipe", recipe.name)
        if recipe.name == "lora":
            self._fix(request.pair, dict.fromkeys(request.pair, AS_IN_QLORA), "pair", recipe.name)
        if preset:
            # A preset is written for its own recipe: with another method only what does not depend on it carries over.
            self._fix(preset.settings, preset.reasons, "preset", preset.name)
        self._fix(request.overrides, {}, "you")
        if self.set_by_person("method"):
            self._instead("method", method)
        else:
            self._take("method", method)

    def _fix(self, settings: Mapping[str, Any], reasons: Mapping[str, str], source: Source, name: str = "") -> None:
        for key, value in settings.items():
            if source == "you" and key in self.decisions:
                self._instead(key, self.decisions[key])
            self.fixed_by[key] = source
            self._take(key, Decision(_exact(key, value), source, reasons.get(key, ""), name))

    def _take(self, key: str, decision: Decision) -> None:
        self.values[key] = decision.value
        self.decisions[key] = decision

    def set_by_person(self, key: str) -> bool:
        return self.fixed_by.get(key) == "you"

    def fixed(self, key: str) -> bool:
        return key in self.fixed_by

    def __getitem__(self, key: str) -> Any:
        return self.values[key]

    def decide(self, key: str, value: Any, why: str) -> Any:
        """Take ``value`` unless a layer, or an earlier decision, has settled it; return what holds."""
        if key not in self.values:
            self.force(key, value, why)
        elif self.set_by_person(key) and key not in self.instead:
            self._instead(key, Decision(value, "planner", why))
        return self.values[key]

    def force(self, key: str, value: Any, why: str) -> None:
        """Set ``value`` whatever the layers say: for what follows from other values."""
        assert key in SETTINGS, key
        decision = Decision(value, "planner", why)
        if self.set_by_person(key):
            self._instead(key, decision)
        self._take(key, decision)

    def _instead(self, key: str, decision: Decision) -> None:
        if key not in SOLVED:
            self.instead[key] = decision


def _exact(key: str, value: Any) -> Any:
    """The value in the type of the plan's field. To a schema 16.0 is a whole number, to a trainer it may be none."""
    if key in WHOLE and isinstance(value, float):
        return int(value)
    return tuple(value) if isinstance(value, list) else value
