"""What a calibration says of a card and a trainer: by how much estimates were off on it."""

from __future__ import annotations

from dataclasses import dataclass

from launcher.sizing import Correction

# A correction outside of this is no correction: something else was measured (another process, a throttled card).
PLAUSIBLE = (0.2, 5.0)


@dataclass(frozen=True)
class MachineCorrection:
    """One card and trainer: measured over predicted, and when and on what that was measured."""

    memory: Correction
    speed: float  # measured over predicted tokens per second; 1 where no speed is predicted
    device: str  # as the driver names it; "cpu"
    model: str
    date: str  # ISO day
    versions: dict[str, str]

    def describe(self) -> str:
        """One line for people: that an estimate uses this, and what it is."""
        parts = [f"activations x {self.memory.activations:.2f}"]
        if self.memory.context_gib is not None:
            parts.append(f"context {self.memory.context_gib:.2f} GiB")
        if self.speed != 1:
            parts.append(f"speed x {self.speed:.2f}")
        return f"corrected by a calibration on {self.device}, {self.date}, {self.model}: {', '.join(parts)}"
