"""How a person wants a data file read, wherever one is: the same words for check, launch, export, estimate and init."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from launcher.data.columns import Columns

Thoughts = Literal["train", "each", "drop"]


@dataclass(frozen=True)
class ReadAs:
    """``columns`` are the person's names for ql's, ``thoughts`` is what becomes of reasoning before answers."""

    columns: Columns = field(default_factory=dict)
    thoughts: Thoughts = "train"

    @staticmethod
    def of(columns: Mapping[str, str] | None, thoughts: Thoughts | None) -> ReadAs:
        """What was given, and for the rest what holds where nothing is."""
        return ReadAs(dict(columns or {}), thoughts or "train")


AS_IT_IS = ReadAs()
