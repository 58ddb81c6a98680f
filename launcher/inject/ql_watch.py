"""Look at each step's loss, labels and gradients, and name what is wrong before hours are spent on it.

It looks at the losses that the model returns: the trainer's own log replaces a loss that is not finite by the mean of
those before. One number is read from the card in a step, after the optimizer has run.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import torch

NONFINITE = 2  # steps in a row
SKIPPED = 10  # steps in a row that the loss scaler skipped
LOWEST_SCALE = 1.0  # below it an fp16 gradient has no room left
ZERO = 3  # steps in a row with a loss, or gradients, of exactly 0
MASKED = 2  # steps in a row without a label to learn
WINDOW = 5  # steps that a mean loss is taken over
DIVERGED = 2.0  # times the lowest mean loss so far; and above the first one


class Watch:
    """``fault(...)`` after each step: ``(kind, evidence)`` of what has gone wrong, or None."""

    def __init__(self, kinds: frozenset[str], fp16: bool) -> None:
        self.kinds, self.fp16 = kinds, fp16
        self.losses: list[Any] = []
        self.labels: Any = None  # how many were not masked in this step; None: nobody said
        self.norm: Any = None
        self.rows = dict.fromkeys(("nonfinite", "skipped", "zero_loss", "zero_gradients", "masked"), 0)
        self.recent: deque[float] = deque(maxlen=WINDOW)
        self.first_mean: float | None = None
        self.lowest_mean = math.inf

    def attach(self, model: Any) -> None:
        model.register_forward_pre_hook(self._before, with_kwargs=True)
        model.register_forward_hook(self._after)

    def _before(self, module: Any, args: Any, kwargs: Any) -> None:
        labels = kwargs.get("labels")
        if module.training and isinstance(labels, torch.Tensor):
            count = (labels != -100).sum()
            self.labels = count if self.labels is None else self.labels + count

    def _after(self, module: Any, args: Any, output: Any) -> None:
        if not module.training:
            return
        loss = output.get("loss") if isinstance(output, dict) else getattr(output, "loss", None)
        if isinstance(loss, torch.Tensor) and loss.numel() == 1:
            self.losses.append(loss.detach().float().reshape(()))

    def before_optimizer(self, model: Any) -> None:
        gradients = [p.grad for p in model.parameters() if p.requires_grad and p.grad is not None]
        if gradients:
            self.norm = torch.stack([norm.float() for norm in torch._foreach_norm(gradients)]).amax()

    def fault(self, *, skipped: bool, scale: float | None) -> tuple[str, dict[str, Any]] | None:
        """What this step shows; ``skipped`` and ``scale`` are the loss scaler's, scale only when it is known."""
        loss = float(torch.stack(self.losses).sum()) if self.losses else None
        labels = None if self.labels is None else int(self.labels)
        norm = None if self.norm is None else float(self.norm)
        self.losses, self.labels, self.norm = [], None, None
        evidence = {"loss": loss, "labels": labels, "gradient_norm": norm, "loss_scale": scale}

        self._count("masked", labels == 0)
        self._count("nonfinite", loss is not None and not math.isfinite(loss))
        self._count("skipped", skipped)
        self._count("zero_loss", loss == 0.0)
        self._count("zero_gradients", norm == 0.0)
        overflow = "fp16_overflow" if self.fp16 else "nonfinite_loss"
        found = None
        if self.rows["masked"] >= MASKED:
            found = "labels_masked", self.rows["masked"]
        elif self.rows["nonfinite"] >= NONFINITE:
            found = overflow, self.rows["nonfinite"]
        elif self.rows["skipped"] >= SKIPPED:
            found = "fp16_overflow", self.rows["skipped"]
        elif scale is not None and scale < LOWEST_SCALE:
            found = "fp16_overflow", 1
        elif self.rows["zero_loss"] >= ZERO:
            found = "zero_loss", self.rows["zero_loss"]
        elif self.rows["zero_gradients"] >= ZERO:
            found = "zero_gradients", self.rows["zero_gradients"]
        elif self._diverges(loss):
            found = "divergence", WINDOW
            evidence |= {"mean": sum(self.recent) / WINDOW, "lowest": self.lowest_mean, "first": self.first_mean}
        if found is None or found[0] not in self.kinds:
            return None
        return found[0], {**evidence, "steps": found[1], **{key: self.rows[key] for key in ("nonfinite", "skipped")}}

    def _count(self, name: str, seen: bool) -> None:
        self.rows[name] = self.rows[name] + 1 if seen else 0

    def _diverges(self, loss: float | None) -> bool:
        if loss is None or not math.isfinite(loss):
            return False
        self.recent.append(loss)
        if len(self.recent) < WINDOW:
            return False
        mean = sum(self.recent) / WINDOW
        if self.first_mean is None:
            self.first_mean = mean
        diverges = mean > DIVERGED * self.lowest_mean and mean > self.first_mean
        self.lowest_mean = min(self.lowest_mean, mean)
        return diverges
