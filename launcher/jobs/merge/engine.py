"""Compute the merged tensors block by block on all cores (or the GPU), and hand them over in order."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from math import isfinite, prod, sqrt

import torch

from launcher.errors import BadInput, Problem, RunFailed
from launcher.jobs.merge.adapter import LowRank
from launcher.jobs.merge.nf4 import Scratch
from launcher.jobs.merge.outline import Output
from launcher.jobs.merge.pipeline import Stages
from launcher.jobs.merge.sources import OpenTensor, non_finite
from launcher.jobs.merge.tensors import FLOATS

CPU_BLOCK = 1 << 18
"""Elements per block and thread on a CPU: 1 MiB of float32, so that a thread's few buffers stay in its cache."""
GPU_BLOCK = 1 << 23
IN_FLIGHT = 4 << 20
"""Bytes that may wait to be hashed and written; on a GPU 32 times as many."""
MEASURED = 8
"""One block in so many is measured for the errors that are reported; the first of each tensor always is."""
MAX_FLOAT16 = 65504.0


@dataclass
class Figures:
    """Sums over the elements of merged modules, in float64: from these come the errors that are reported."""

    modules: int = 0
    delta: float = 0.0  # Σ (merged - base)²
    rounding: float = 0.0  # Σ (stored - merged)²
    quantisation: float = 0.0  # Σ (base - base before quantisation)²
    quantised_delta: float = 0.0  # Σ delta² over the modules that entered `quantisation`

    def add(self, other: Figures) -> None:
        for item in fields(self):
            setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def errors(self) -> dict[str, float | None]:
        """Relative error of the delta after rounding, and the delta's size against the quantisation error."""
        return {
            "delta_error": sqrt(self.rounding / self.delta) if self.delta else None,
            "delta_vs_quant_error": sqrt(self.quantised_delta / self.quantisation) if self.quantisation else None,
        }


@dataclass
class Block:
    """Some rows of an output, ready to be written."""

    output: Output
    data: torch.Tensor
    last: bool
    figures: Figures = field(default_factory=Figures)


@dataclass
class Opened:
    """An output whose base can be read and whose update is where it is computed."""

    output: Output
    ranges: list[tuple[int, int]]
    rows: OpenTensor
    low_rank: LowRank | None


class Engine:
    """Threads that compute blocks. Each thread computes alone: torch's own threads would wait for one another.

    One more thread reads: the next tensor is opened while this one is computed.
    """

    def __init__(self, device: torch.device, stages: Stages) -> None:
        self.device, self.stages = device, stages
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.on_cpu = device.type == "cpu"
        self.threads = cores if self.on_cpu else 2
        self.block = CPU_BLOCK if self.on_cpu else GPU_BLOCK
        self.in_flight = IN_FLIGHT * (1 if self.on_cpu else 32)
        self.local = threading.local()
        self.torch_threads = torch.get_num_threads()
        self.start_thread()
        self.pool = ThreadPoolExecutor(self.threads, "ql-compute", self.start_thread)
        self.opener = ThreadPoolExecutor(1, "ql-open", self.start_thread)

    def start_thread(self) -> None:
        """Without this, torch's own threads spin between two operations, and take the cores from ours."""
        if self.on_cpu:
            torch.set_num_threads(1)

    def scratch(self, elements: int) -> Scratch:
        found: Scratch | None = getattr(self.local, "scratch", None)
        if found is None or len(found.scaled) < elements:
            found = self.local.scratch = Scratch(elements)
        return found

    def close(self) -> None:
        self.opener.shutdown(wait=True, cancel_futures=True)  # before the pool, which it uses
        self.pool.shutdown(wait=True, cancel_futures=True)
        torch.set_num_threads(self.torch_threads)

    def ranges(self, output: Output) -> list[tuple[int, int]]:
        """Row ranges of about one block each, that begin where the quantisation's blocks do; one at least."""
        shape = output.shape
        rows, columns = (shape[0], max(1, prod(shape[1:]))) if len(shape) > 1 else (1, 1)
        align = output.source.align
        step = max(align, self.block // columns // align * align)
        return [(first, min(first + step, rows)) for first in range(0, rows, step)] or [(0, 0)]

    def parallel(
        self, function: Callable[[int, int], torch.Tensor], ranges: list[tuple[int, int]]
    ) -> list[torch.Tensor]:
        return list(self.pool.map(lambda span: function(*span), ranges))

    def run(self, outputs: list[Output]) -> Iterator[Block]:
        """The blocks of ``outputs`` in order, computed ahead of their use by a bounded number.

        Raises BadInput or RunFailed, naming the tensor, for values that cannot be stored.
        """
        window = 3 * self.threads
        pending: deque[Future[Block]] = deque()
        try:
            for opened in self.opened(outputs):
                for number in range(len(opened.ranges)):
                    pending.append(self.pool.submit(self.compute, opened, number))
                    while len(pending) > window:
                        yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()

    def opened(self, outputs: list[Output]) -> Iterator[Opened]:
        """Every output, open; the next one is being opened meanwhile."""
        ahead: deque[Future[Opened]] = deque()
        try:
            for output in outputs:
                ahead.append(self.opener.submit(self.open, output))
                if len(ahead) > 1:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            for future in ahead:
                future.cancel()

    def open(self, output: Output) -> Opened:
        with self.stages.timed("read"):
            ranges = self.ranges(output)
            rows = output.source.open(ranges, self.parallel, self.device)
            low_rank = output.update() if output.update else None
            if low_rank and not self.on_cpu:
                magnitude = None if low_rank.magnitude is None else low_rank.magnitude.to(self.device)
                low_rank = LowRank(low_rank.a.to(self.device), low_rank.b.to(self.device), low_rank.scale, magnitude)
            return Opened(output, ranges, rows, low_rank)

    def compute(self, opened: Opened, number: int) -> Block:
        with self.stages.timed("compute"):
            return self.compute_block(opened, number)

    def compute_block(self, opened: Opened, number: int) -> Block:
        output, rows, low_rank = opened.output, opened.rows, opened.low_rank
        first, last = opened.ranges[number]
        is_last = number == len(opened.ranges) - 1
        if output.dtype not in FLOATS:
            return Block(output, output.source.refs[0].read(first, last), is_last)
        elements = (last - first) * (prod(output.shape[1:]) if len(output.shape) > 1 else prod(output.shape))
        scratch = self.scratch(elements) if self.on_cpu else Scratch(0)
        base = rows.block(first, last, scratch)
        exact, figures = base, Figures()
        measured = low_rank is not None and number % MEASURED == 0
        if low_rank is not None:
            columns = output.shape[1]
            room = scratch.sum[:elements].view(-1, columns) if self.on_cpu else None
            total = low_rank.delta(first, last, room).add_(base.view(-1, columns))
            if low_rank.magnitude is not None:
                norm = torch.linalg.vector_norm(total, dim=1)
                total.mul_((low_rank.magnitude[first:last] / norm).unsqueeze(1))
            exact = total.view(-1)
            figures.modules = int(is_last)
            if measured:
                figures.delta = _square(exact - base)
                if rows.original is not None:
                    figures.quantised_delta = figures.delta
                    figures.quantisation = _square(rows.original(first, last).sub_(base))
        if output.add is not None:
            bias, scale = output.add
            exact = exact + bias.tensor().float().flatten().to(exact.device).mul_(scale)
        if output.rows is not None:
            exact = replace_rows(exact, output, first, last)
        check_range(exact, output)
        stored = exact.to(output.dtype)
        if measured:
            figures.rounding = _square(stored.float().sub_(exact))
        return Block(output, stored if self.on_cpu else to_host(stored), is_last, figures)


def to_host(tensor: torch.Tensor) -> torch.Tensor:
    """A copy in page-locked memory, which the GPU writes by itself and which torch uses again for the next one."""
    pinned = tensor.device.type == "cuda"
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=pinned).copy_(tensor)


def replace_rows(block: torch.Tensor, output: Output, first: int, last: int) -> torch.Tensor:
    """Put trained token rows in their places among rows ``first`` to ``last``."""
    assert output.rows is not None
    indices, ref = output.rows
    inside = [(position, row) for position, row in enumerate(indices) if first <= row < last]
    if not inside:
        return block
    values = ref.tensor().float().to(block.device)
    block = block.clone().view(last - first, -1)
    for position, row in inside:
        block[row - first] = values[position]
    return block.flatten()


def check_range(block: torch.Tensor, output: Output) -> None:
    """Raises BadInput for NaN or infinity, RunFailed for numbers that float16 cannot hold; both name the tensor."""
    if block.numel() == 0:
        return
    low, high = (float(value) for value in torch.aminmax(block))
    ref = output.source.refs[0]
    if not (isfinite(low) and isfinite(high)):
        if output.update is None:
            raise non_finite(ref, getattr(output.source, "load_dtype", None))
        raise BadInput(Problem(f"the merged tensor {output.name!r} has non-finite values", str(ref.path)))
    if output.dtype == torch.float16 and max(-low, high) > MAX_FLOAT16:
        message = f"tensor {output.name!r} reaches {max(-low, high):.6g}, and float16 ends at 65504"
        raise RunFailed(Problem(message, str(ref.path), hint="merge to bfloat16 instead: --dtype bfloat16"))


def _square(values: torch.Tensor) -> float:
    flat = values.flatten()
    return float(torch.dot(flat, flat))


def choose_device(wanted: str, largest: int) -> tuple[torch.device, str]:
    """The device for the merge and why. ``largest`` is the size in bytes of the largest tensor, as stored.

    auto takes the GPU when it has room for that tensor in float32 with its delta and temporaries (12 bytes for each
    element of 2) beside whatever else runs there.
    """
    if wanted == "cpu" or not torch.cuda.is_available():
        if wanted == "cuda":
            raise RunFailed("no CUDA device is available", hint="leave out --device cuda")
        return torch.device("cpu"), "asked for" if wanted == "cpu" else "no GPU"
    free, _ = torch.cuda.mem_get_info()
    needed = 6 * largest + (2 << 30)
    if wanted == "auto" and free < needed:
        return torch.device("cpu"), f"the GPU has {free / 2**30:.1f} GiB free, {needed / 2**30:.1f} are needed"
    return torch.device("cuda"), "asked for" if wanted == "cuda" else "the GPU is free"


def facts(figures: Figures) -> dict[str, object]:
    """What the manifest says of the figures: how many modules were merged, and the relative errors."""
    return {"merged_modules": figures.modules, **figures.errors()}
