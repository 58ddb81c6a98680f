"""Memory, speed and cost of a run, before it is run: pure functions, no torch, no network."""

from __future__ import annotations

from launcher.sizing.batch import BatchSolution, Shape, TriedShape, divisors, solve_batch
from launcher.sizing.cost import Cost, Workload, estimate_cost
from launcher.sizing.host import DiskEstimate, disk_space, merge_host_memory
from launcher.sizing.lengths import RowLengths, row_lengths
from launcher.sizing.memory import estimate_memory
from launcher.sizing.request import MARGIN, Correction, MemoryEstimate, MemoryRequest, budget
from launcher.sizing.terms import MemoryTerms, TrainerTerms
from launcher.sizing.throughput import Speed, flops_per_token, tokens_per_second, useful_tokens_per_second

__all__ = [
    "MARGIN",
    "BatchSolution",
    "Correction",
    "Cost",
    "DiskEstimate",
    "MemoryEstimate",
    "MemoryRequest",
    "MemoryTerms",
    "RowLengths",
    "Shape",
    "Speed",
    "TrainerTerms",
    "TriedShape",
    "Workload",
    "budget",
    "disk_space",
    "divisors",
    "estimate_cost",
    "estimate_memory",
    "flops_per_token",
    "merge_host_memory",
    "row_lengths",
    "solve_batch",
    "tokens_per_second",
    "useful_tokens_per_second",
]
