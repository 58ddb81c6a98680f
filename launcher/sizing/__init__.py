"""Memory, speed and cost of a run, before it is run: pure functions, no torch, no network."""

from __future__ import annotations

from launcher.sizing.batch import BatchSolution, solve_batch
from launcher.sizing.cost import Cost, Workload, estimate_cost
from launcher.sizing.memory import estimate_memory
from launcher.sizing.request import MARGIN, TRAINERS, MemoryEstimate, MemoryRequest, TrainerMemory, budget
from launcher.sizing.throughput import flops_per_token, tokens_per_second

__all__ = [
    "MARGIN",
    "TRAINERS",
    "BatchSolution",
    "Cost",
    "MemoryEstimate",
    "MemoryRequest",
    "TrainerMemory",
    "Workload",
    "budget",
    "estimate_cost",
    "estimate_memory",
    "flops_per_token",
    "solve_batch",
    "tokens_per_second",
]
