"""What a trainer's config says about each setting of a plan, and on which line. Nothing is decided here.

What the file does not say has the trainer's own default, not ql's: the run must be described as it will be trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from launcher.catalog.types import Gpu, Model
from launcher.records.decision import Decision
from launcher.rules.base import Config, KeyPath
from launcher.yaml_source import Positions


@dataclass(frozen=True)
class RowCounts:
    """How many rows the config trains on and evaluates with; None where nobody counted them."""

    train: int | None = None
    evaluation: int | None = None


@dataclass
class ReadBack:
    """The settings of a plan as a config has them: the decisions, and where each stands in the file.

    ``places`` leaves out what the file does not say.
    """

    file: str
    positions: Positions
    decisions: dict[str, Decision] = field(default_factory=dict)
    places: dict[str, KeyPath] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        return {setting: decision.value for setting, decision in self.decisions.items()}

    def put(self, setting: str, value: Any, path: KeyPath | None, otherwise: str) -> None:
        """Take ``value``, which stands at ``path``; or, where that is None, holds because of ``otherwise``."""
        if path is None:
            self.decisions[setting] = Decision(value, "trainer", otherwise)
        else:
            self.places[setting] = path
            self.decisions[setting] = Decision(value, "file", f"{self.file}:{self.positions.key(path).line}")

    def convert(self, setting: str, change: Callable[[Any], Any]) -> None:
        """Put what was read into the plan's own form."""
        decision = self.decisions[setting]
        self.decisions[setting] = replace(decision, value=change(decision.value))

    def add(self, setting: str, words: str) -> None:
        """Say more about why the setting is what it is."""
        decision = self.decisions[setting]
        self.decisions[setting] = replace(decision, why=f"{decision.why}: {words}")

    def line(self, setting: str) -> int | None:
        path = self.places.get(setting)
        return None if path is None else self.positions.key(path).line


@dataclass
class Reading:
    """One config that is being read: the file, what it is for, and what was found so far (``back``)."""

    config: Config
    gpu: Gpu
    model: Model
    rows: RowCounts
    back: ReadBack

    def take(self, setting: str, key: str, default: Any, otherwise: str) -> Any:
        """The setting is the value of one key, which may be inside another (``outer.inner``)."""
        path = tuple(key.split("."))
        level: Any = self.config.get(path[0])
        for part in path[1:]:
            level = level.get(part) if isinstance(level, dict) else None
        given = level is not None
        self.back.put(setting, level if given else default, path if given else None, otherwise)
        return self.value(setting)

    def put(self, setting: str, value: Any, key: str | None, otherwise: str = "") -> None:
        """The setting has ``value``, because of the file's ``key`` or, where that is None, because of ``otherwise``."""
        self.back.put(setting, value, None if key is None else tuple(key.split(".")), otherwise)

    def value(self, setting: str) -> Any:
        """What was read before: the entries of a codec are read in their order."""
        return self.back.decisions[setting].value

    @property
    def epochs(self) -> float:
        """Epochs that a share of all steps is a share of: those of the file, and one where it counts in steps."""
        return 1.0 if self.value("max_steps") else float(self.value("num_epochs"))

    @property
    def steps_per_epoch(self) -> int | None:
        """Optimizer steps; None where the rows were not counted."""
        if not self.rows.train:
            return None
        batch: int = self.value("micro_batch_size") * self.value("gradient_accumulation_steps")
        return math.ceil(self.rows.train / batch) if batch > 0 else None

    @property
    def total_steps(self) -> int | None:
        """Optimizer steps of the whole run; None where that cannot be told."""
        if self.value("max_steps"):
            return int(self.value("max_steps"))
        if self.steps_per_epoch is None:
            return None
        steps = self.steps_per_epoch * float(self.value("num_epochs"))
        return math.ceil(steps) if 0 < steps < math.inf else None

    def evaluation_file(self, key: str | None) -> None:
        """`eval_fraction`: the share of all rows that the evaluation file named by ``key`` has."""
        if key is None:
            self.put("eval_fraction", 0.0, None, "no evaluation set")
            return
        held_out, train = self.rows.evaluation, self.rows.train
        self.put("eval_fraction", round(held_out / (held_out + train), 6) if held_out and train else 0.0, key)
        if held_out is not None:
            self.back.add("eval_fraction", f"{held_out} rows")


def times_per_epoch(share: float) -> int:
    """How often an epoch has an interval that is ``share`` of it; once for what is no interval, such as NaN."""
    return max(1, round(1 / share)) if 1e-9 < share < math.inf else 1
