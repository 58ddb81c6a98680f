"""The shape that trains fastest among those that fit: every one is tried, none is guessed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from launcher.sizing.request import MemoryEstimate

MAX_MICRO_BATCH = 64
# Shapes this close in speed are taken for equal, and the one that needs less memory wins: the prediction is no finer.
SAME_SPEED = 0.01


@dataclass(frozen=True)
class Shape:
    """How a job is cut: what the solver may choose."""

    micro_batch_size: int
    gradient_checkpointing: bool
    activation_offload: bool
    packing: bool
    kernels: tuple[str, ...]
    sequence_len: int


@dataclass(frozen=True)
class TriedShape:
    """A shape with its peak memory and its speed, in tokens of rows per second: padding does not count."""

    shape: Shape
    memory: MemoryEstimate
    speed: float | None

    @property
    def fits(self) -> bool:
        """Whether loading and training fit; evaluation is cut to fit afterwards."""
        needed = max(self.memory.peak_gib, self.memory.load_gib)
        return self.memory.budget_gib is None or needed <= self.memory.budget_gib


@dataclass(frozen=True)
class BatchSolution:
    """The chosen trial and all that were tried. When none fits, ``best`` is the one that comes nearest."""

    best: TriedShape
    trials: tuple[TriedShape, ...]

    @property
    def fits(self) -> bool:
        return self.best.fits

    def rival(self, **changes: object) -> TriedShape | None:
        """The fastest fitting trial with ``changes``; where none fits, the one of them that needs least; else None."""
        others = [
            trial for trial in self.trials if all(getattr(trial.shape, key) == value for key, value in changes.items())
        ]
        fitting = [trial for trial in others if trial.fits]
        if fitting:
            return max(fitting, key=_eagerness)
        return min(others, key=lambda trial: trial.memory.peak_gib, default=None)


def divisors(number: int, largest: int = MAX_MICRO_BATCH) -> list[int]:
    """The divisors of ``number`` up to ``largest``, ascending: micro-batches from which accumulation reaches it."""
    return [n for n in range(1, min(number, largest) + 1) if number % n == 0]


def solve_batch(shapes: Iterable[Shape], measure: Callable[[Shape], TriedShape]) -> BatchSolution:
    """The fastest of ``shapes`` that fits, by ``measure``.

    Among equally fast ones (`SAME_SPEED`) the one that needs least memory. Where no speed is known: checkpoints on the
    device rather than the host, recomputation rather than none, and then the largest micro-batch.
    """
    trials = tuple(measure(shape) for shape in shapes)
    fitting = [trial for trial in trials if trial.fits]
    if not fitting:
        # Offloading only where it helps.
        nearest = min(trials, key=lambda t: (round(t.memory.peak_gib, 2), t.shape.activation_offload))
        return BatchSolution(nearest, trials)
    best = max(fitting, key=_eagerness)
    if best.speed is not None:
        fast = best.speed * (1 - SAME_SPEED)
        equals = [trial for trial in fitting if trial.speed is not None and trial.speed >= fast]
        best = min(equals, key=lambda t: (t.shape.activation_offload, t.memory.peak_gib))
    return BatchSolution(best, trials)


def _eagerness(trial: TriedShape) -> tuple[float, ...]:
    shape = trial.shape
    if trial.speed is not None:
        return (trial.speed, -float(shape.activation_offload), -trial.memory.peak_gib)
    return (
        -float(shape.packing),
        -float(shape.activation_offload),
        float(shape.gradient_checkpointing),
        float(len(shape.kernels)),
        float(shape.micro_batch_size),
    )
