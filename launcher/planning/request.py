"""What is to be planned: names resolved, files read, and what the person fixed. All that a plan is made from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypedDict

from launcher.catalog.types import Gpu, Model, Preset, Recipe
from launcher.data.facts import DataFacts
from launcher.planning.corrections import MachineCorrection
from launcher.sizing import Correction

AUTO = "auto"


class Identity(TypedDict):
    """The fields of a plan that say what it is for."""

    preset: str | None
    gpu: str
    model: str
    base_model: str
    model_type: str
    on_cpu: bool


@dataclass(frozen=True)
class Request:
    """Everything that `make_plan` looks at. ``overrides`` holds only what the person fixed, by settings key."""

    gpu: Gpu
    model: Model
    base_model: str
    recipes: Mapping[str, Recipe]
    preset: Preset | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    pair: Mapping[str, Any] = field(default_factory=dict)  # values of the QLoRA run that a LoRA run is compared with
    overflow: str = ""  # why the model's family overflows fp16; empty: it does not
    auto_method: bool = False
    auto_backend: bool = False
    data: DataFacts | None = None
    corrections: Mapping[str, MachineCorrection] = field(default_factory=dict)  # of this card, by trainer

    @property
    def memory_corrections(self) -> dict[str, Correction]:
        """What a calibration of the card says of memory alone, by trainer: what a config is checked by."""
        return {trainer: found.memory for trainer, found in self.corrections.items()}

    def identity(self) -> Identity:
        """The fields of a plan that say what it is for."""
        return {
            "preset": self.preset.name if self.preset else None,
            "gpu": self.gpu.name,
            "model": self.model.name,
            "base_model": self.base_model,
            "model_type": self.model.model_type,
            "on_cpu": self.gpu.kind == "cpu",
        }
