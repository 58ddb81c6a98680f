"""Base weights as training computed with them, in float32, row block by row block.

A source is opened once per tensor (``open``): that is where a whole tensor must be seen, for the mean of all absmax
values that double quantisation subtracts. ``OpenTensor.block`` then gives any rows; it is called from several threads.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import gcd, isfinite, prod
from typing import Any

import torch

from launcher.errors import BadInput, Problem, QlError, RunFailed
from launcher.jobs.merge import library, nf4
from launcher.jobs.merge.tensors import TensorRef

HOLD_BYTES = 256 << 20
"""A tensor up to this size is read once and held; of a larger one each row block is read again when its turn comes."""

Parallel = Callable[[Callable[[int, int], torch.Tensor], list[tuple[int, int]]], list[torch.Tensor]]
"""Runs a function over row ranges on all cores and returns the results in order."""


class OpenTensor(ABC):
    """A tensor that is open for reading."""

    original: Callable[[int, int], torch.Tensor] | None = None
    """The same rows before quantisation, in float32, where that is known."""

    @abstractmethod
    def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
        """Rows ``first`` to ``last``, flat, float32; may be a view into ``scratch``."""


class Source(ABC):
    """Where a tensor of the base comes from."""

    @property
    @abstractmethod
    def refs(self) -> list[TensorRef]:
        """The stored tensors it is made of, the largest first."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the weight."""
        return self.refs[0].shape

    @property
    def align(self) -> int:
        """Row blocks must begin at a multiple of this many rows."""
        return 1

    @abstractmethod
    def open(self, ranges: list[tuple[int, int]], parallel: Parallel, device: torch.device) -> OpenTensor:
        """The tensor, ready for `OpenTensor.block` on ``device``.

        ``ranges`` are the row blocks that will be asked for; what must see the whole tensor first goes over them with
        ``parallel``. Raises BadInput or RunFailed where quantisation would hide values that are not finite.
        """

    def whole(self, device: torch.device) -> torch.Tensor:
        """The whole tensor in float32, in its shape."""
        rows = self.shape[0] if len(self.shape) > 1 else 1
        ranges = [(0, rows)]
        opened = self.open(ranges, lambda function, spans: [function(*span) for span in spans], device)
        block = opened.block(0, rows, nf4.Scratch(prod(self.shape) if device.type == "cpu" else 0))
        return block.view(self.shape)


def reader(ref: TensorRef, device: torch.device) -> Callable[[int, int], torch.Tensor]:
    """Rows of ``ref`` in the stored dtype, flat, on ``device``: held there where the tensor is small enough."""
    if ref.nbytes > HOLD_BYTES:
        return lambda first, last: ref.read(first, last, device)
    held = ref.read(device=device)
    return lambda first, last: held[first * ref.row_elements : last * ref.row_elements]


def non_finite(ref: TensorRef, load_dtype: torch.dtype | None) -> QlError:
    """The error for a tensor that is not finite as training would have it: as it is stored, or only after rounding."""
    largest = float(ref.read().float().abs().amax())
    if load_dtype == torch.float16 and isfinite(largest):
        message = f"tensor {ref.name!r} reaches {largest:.6g}, and the base was loaded in float16, which ends at 65504"
        return RunFailed(Problem(message, str(ref.path), hint="train and merge in bfloat16"))
    return BadInput(Problem(f"tensor {ref.name!r} has non-finite values", str(ref.path)))


def convert(values: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """``values`` in ``dtype``. Between the two 16-bit formats torch is ten times faster by way of float32."""
    return values if values.dtype == dtype else values.float().to(dtype)


def rows_per_multiple(elements_per_row: int, block: int) -> int:
    """The fewest rows whose elements are a whole number of blocks."""
    return block // gcd(elements_per_row, block)


@dataclass(frozen=True)
class Plain(Source):
    """A tensor as it is stored, rounded to the dtype the base was loaded in (None: not rounded)."""

    ref: TensorRef
    load_dtype: torch.dtype | None

    @property
    def refs(self) -> list[TensorRef]:
        return [self.ref]

    def open(self, ranges: list[tuple[int, int]], parallel: Parallel, device: torch.device) -> OpenTensor:
        read = reader(self.ref, device)
        load_dtype = self.load_dtype

        class PlainRows(OpenTensor):
            def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
                stored = read(first, last)
                return (stored if load_dtype is None else convert(stored, load_dtype)).float()

        return PlainRows()


@dataclass(frozen=True)
class FourBit(Source):
    """A 16- or 32-bit tensor through bitsandbytes' 4-bit round trip, then rounded to ``load_dtype``.

    On a CPU by our own NF4 code where it is known to give the installed library's bits, else by the library.
    """

    ref: TensorRef
    load_dtype: torch.dtype
    kind: str
    block_size: int
    double_quant: bool

    @property
    def align(self) -> int:
        return rows_per_multiple(self.ref.row_elements, self.block_size)

    @property
    def refs(self) -> list[TensorRef]:
        return [self.ref]

    def open(self, ranges: list[tuple[int, int]], parallel: Parallel, device: torch.device) -> OpenTensor:
        if device.type == "cpu" and self.kind == "nf4" and library.agrees_with_nf4():
            return _OwnRows(self, ranges, parallel)
        return _LibraryRows(self, device)


class _LibraryRows(OpenTensor):
    """The whole tensor through bitsandbytes."""

    def __init__(self, source: FourBit, device: torch.device) -> None:
        self.columns = source.ref.row_elements
        self.weights = source.ref.tensor(device).to(source.load_dtype)
        if not bool(torch.isfinite(self.weights).all()):  # the codes would hide it
            raise non_finite(source.ref, source.load_dtype)
        self.restored = library.four_bit_round_trip(
            self.weights, source.kind, source.block_size, source.double_quant
        ).view(-1)

    def original(self, first: int, last: int) -> torch.Tensor:
        return self.weights[first:last].float().flatten()

    def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
        return self.restored[first * self.columns : last * self.columns].float()


class _OwnRows(OpenTensor):
    """Through our own NF4: once over the tensor for its absmax values, then block by block."""

    def __init__(self, source: FourBit, ranges: list[tuple[int, int]], parallel: Parallel) -> None:
        ref = source.ref
        self.columns, self.block_size, self.dtype = ref.row_elements, source.block_size, source.load_dtype
        self.read: Callable[[int, int], torch.Tensor] = ref.read
        self.kept: torch.Tensor | None = None
        if ref.nbytes <= HOLD_BYTES:
            stored = ref.read()
            self.read = lambda first, last: stored[first * self.columns : last * self.columns]
            self.kept = stored if stored.dtype == self.dtype else torch.empty(ref.elements, dtype=self.dtype)
        self.absmax = torch.cat(parallel(self.maxima, ranges))
        if not bool(torch.isfinite(self.absmax).all()):
            raise non_finite(ref, self.dtype)
        self.scale = nf4.nested_absmax(self.absmax) if source.double_quant else self.absmax
        if self.kept is not None:
            self.read = ref.read  # lets the stored bytes go

    def maxima(self, first: int, last: int) -> torch.Tensor:
        """absmax of the blocks of some rows, which are rounded to the dtype of training on the way, and kept."""
        stored = self.read(first, last)
        rounded = convert(stored, self.dtype)
        if self.kept is not None and rounded is not stored:
            self.kept[first * self.columns : last * self.columns] = rounded
        return nf4.block_absmax(rounded, self.block_size)

    def loaded(self, first: int, last: int) -> torch.Tensor:
        if self.kept is not None:
            return self.kept[first * self.columns : last * self.columns]
        return convert(self.read(first, last), self.dtype)

    def original(self, first: int, last: int) -> torch.Tensor:
        return self.loaded(first, last).float()

    def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
        span = slice(first * self.columns // self.block_size, -(-last * self.columns // self.block_size))
        weights = self.loaded(first, last)
        value = nf4.round_trip(weights, self.absmax[span], self.scale[span], self.block_size, scratch)
        return value if self.dtype == torch.float32 else value.copy_(value.to(self.dtype))


@dataclass(frozen=True)
class EightBit(Source):
    """A tensor through LLM.int8() (https://arxiv.org/abs/2208.07339): to float16, then 8 bits per row.

    bitsandbytes multiplies the 8-bit numbers by ``row maximum / 127`` in float32, so nothing is rounded after that.
    """

    ref: TensorRef

    @property
    def refs(self) -> list[TensorRef]:
        return [self.ref]

    def open(self, ranges: list[tuple[int, int]], parallel: Parallel, device: torch.device) -> OpenTensor:
        read = reader(self.ref, device)
        columns = self.ref.row_elements

        class RoundTripRows(OpenTensor):
            def original(self, first: int, last: int) -> torch.Tensor:
                return read(first, last).float()

            def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
                weights = read(first, last).to(torch.float16).view(-1, columns).float()
                largest = weights.abs().amax(1, keepdim=True)
                steps = torch.round(weights * (127.0 / largest)).nan_to_num_(0.0)
                return steps.mul_(largest).mul_(1 / 127).flatten()

        return RoundTripRows()


@dataclass(frozen=True)
class StoredEightBit(Source):
    """A weight that the base stores in 8 bits, with its row maxima beside it."""

    ref: TensorRef
    scales: TensorRef

    @property
    def refs(self) -> list[TensorRef]:
        return [self.ref, self.scales]

    def open(self, ranges: list[tuple[int, int]], parallel: Parallel, device: torch.device) -> OpenTensor:
        read = reader(self.ref, device)
        scales = self.scales.tensor().float().to(device)
        columns = self.ref.row_elements

        class StoredRows(OpenTensor):
            def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
                steps = read(first, last).view(-1, columns).float()
                return steps.mul_(scales[first:last, None]).mul_(1 / 127).flatten()

        return StoredRows()


@dataclass(frozen=True)
class StoredFourBit(Source):
    """A weight that the base stores as bitsandbytes wrote it: packed codes, and the state that undoes them.

    ``dtype`` is what training dequantised it to; None: what the state says.
    """

    ref: TensorRef
    state: dict[str, TensorRef]
    dtype: str | None = None

    @cached_property
    def facts(self) -> dict[str, Any]:
        """The part of the state that is no tensor: block sizes, shape, dtype, offset. Read from the file once."""
        packed = next(ref for name, ref in self.state.items() if name.startswith("quant_state."))
        facts: dict[str, object] = json.loads(bytes(packed.read().tolist()))
        return facts

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.facts["shape"])

    @property
    def align(self) -> int:
        return rows_per_multiple(self.shape[1], max(int(self.facts["blocksize"]), 64))

    @property
    def refs(self) -> list[TensorRef]:
        return [self.ref, *self.state.values()]

    def open(self, ranges: list[tuple[int, int]], parallel: Parallel, device: torch.device) -> OpenTensor:
        facts = self.facts
        columns, block = self.shape[1], int(facts["blocksize"])
        dtype = getattr(torch, self.dtype or str(facts["dtype"]))
        code = self.state["quant_map"].tensor().float()
        absmax = self.state["absmax"].read()
        if "nested_absmax" in self.state:
            nested = self.state["nested_absmax"].read().repeat_interleave(int(facts["nested_blocksize"]))
            values = self.state["nested_quant_map"].tensor()[absmax.int()]
            absmax = values * nested[: len(values)] + float(facts["nested_offset"])
        absmax = absmax.float().to(device)
        pairs = torch.stack([code.repeat_interleave(16), code.repeat(16)], 1).to(device)  # high half first
        packed = self.ref.read().view(torch.uint8)

        class StoredRows(OpenTensor):
            def block(self, first: int, last: int, scratch: nf4.Scratch) -> torch.Tensor:
                low, high = first * columns, last * columns
                codes = packed[low // 2 : -(-high // 2)].to(device).int()
                value = torch.index_select(pairs, 0, codes).view(-1)[: high - low]
                span = absmax[low // block : -(-high // block)]
                return (value * span.repeat_interleave(block)[: high - low]).to(dtype).float()

        return StoredRows()
