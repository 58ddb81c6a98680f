"""A decision: a value of the plan, who decided it, and in words why. The words are for people; nothing reads them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Who decided: a recipe, a preset, the person, ql itself, a line of an edited config, the trainer where that file is
# silent, or the QLoRA run that a LoRA run is compared with.
Source = Literal["recipe", "preset", "you", "planner", "file", "trainer", "pair"]

AS_IN_QLORA = "as in the QLoRA run that it is compared with"
_BY_PERSON = "set by you"
_IN_LAYER = {"recipe": "recipe", "preset": "preset", "pair": "recipe"}  # what is named before the words


@dataclass(frozen=True)
class Decision:
    """``why`` is the words alone; ``name`` is that of the recipe or preset that decided."""

    value: Any
    source: Source
    why: str = ""
    name: str = ""

    @property
    def reason(self) -> str:
        """Source and words as a person reads them."""
        if self.source == "you":
            return _BY_PERSON
        layer = f"{_IN_LAYER[self.source]} {self.name}" if self.name else ""
        return ": ".join(part for part in (layer, self.why) if part)


def sources_of(plan: Mapping[str, Any]) -> Mapping[str, Source]:
    """Who decided each setting of a plan in run.json.

    A run of before they were written down has them in its reasons alone: of these, what the person and the paired run
    decided.
    """
    if "sources" in plan:
        written: Mapping[str, Source] = plan["sources"]
        return written
    found: dict[str, Source] = {}
    for setting, reason in plan.get("reasons", {}).items():
        if reason == _BY_PERSON:
            found[setting] = "you"
        elif reason.endswith(AS_IN_QLORA):
            found[setting] = "pair"
    return found
