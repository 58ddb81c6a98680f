"""NF4 as bitsandbytes computes it on a CPU, several times faster, bit for bit (held by a property test).

QLoRA (https://arxiv.org/abs/2305.14314): each block of 64 weights is divided by its largest magnitude (*absmax*) and
rounded to the nearest of 16 values; double quantisation then stores the absmax values, less their mean, in 8 bits in
blocks of 256. What training computes with is therefore ``value[code] * absmax``, with the absmax that came back from
its own quantisation. This module goes from weights to those numbers without building the packed codes between.

Speed: a binary search per weight (``torch.bucketize``) is what makes the library slow. The midpoints between the
16 values lie at least 0.08 apart, so a grid of cells 1/16 wide has at most one of them in each cell: the cell number is
one multiplication and addition, and one exact comparison with the midpoint of that cell settles the code.
"""

from __future__ import annotations

import torch

NF4_VALUES = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values of the NF4 data type, equation 4 of the paper, as bitsandbytes stores them in float32."""

NESTED_BLOCK = 256
"""absmax values per block of the second quantisation."""

LIBRARY_THREADS = torch.get_num_threads()
"""What torch computes with when nobody has told it otherwise."""

_CELLS_PER_UNIT = 16
_TABLE = 64
_ROUND = 1.5 * 2.0**23  # adding this to a small float32 leaves its nearest integer in the low bits of the mantissa
_TINY = 1e-38  # bitsandbytes' floor under an absmax before it divides by it


def _cell_tables() -> tuple[torch.Tensor, torch.Tensor]:
    """Per cell: the midpoint inside it (or one that nothing exceeds), and the value below it, then the one above."""
    values = torch.tensor(NF4_VALUES, dtype=torch.float32)
    midpoints = (values[:-1] + values[1:]) / 2
    bound = torch.full((_TABLE,), 4.0)
    value = torch.zeros(2 * _TABLE)
    for cell in range(-_CELLS_PER_UNIT, _CELLS_PER_UNIT + 1):
        left, right = (cell - 0.5) / _CELLS_PER_UNIT, (cell + 0.5) / _CELLS_PER_UNIT
        below = int((midpoints <= left).sum())
        inside = midpoints[(midpoints > left) & (midpoints < right)]
        slot = cell % _TABLE  # the low six bits of a two's complement number
        value[slot] = value[slot + _TABLE] = values[below]
        if len(inside):
            bound[slot] = inside[0]
            value[slot + _TABLE] = values[below + 1]
    return bound, value


_BOUND, _VALUE = _cell_tables()


class Scratch:
    """Work space of one thread, so that blocks are computed without allocating."""

    def __init__(self, elements: int) -> None:
        self.scaled = torch.empty(elements)
        self.cell = torch.empty(elements)
        self.bound = torch.empty(elements)
        self.sum = torch.empty(elements)


def block_absmax(weights: torch.Tensor, block: int) -> torch.Tensor:
    """Largest magnitude of each ``block`` of consecutive elements of a flat float tensor; float32, last block short.

    Magnitudes are compared as integers, which orders floats of one sign by size and puts inf and NaN on top, so a
    non-finite weight shows as a non-finite absmax.
    """
    bits, mask = (torch.int32, 0x7FFFFFFF) if weights.dtype.itemsize == 4 else (torch.int16, 0x7FFF)
    magnitude = weights.view(bits) & mask
    full = weights.numel() // block * block
    parts = [magnitude[:full].view(-1, block).amax(1)] if full else []
    if full < weights.numel():
        parts.append(magnitude[full:].amax(0, keepdim=True))
    return torch.cat(parts).view(weights.dtype).float()


def dynamic_map() -> torch.Tensor:
    """The signed 8-bit dynamic data type (https://arxiv.org/abs/1511.04561): 256 sorted values in [-0.993, 1].

    Seven decades, 10^-6 to 1; decade ``i`` holds 2^i values, the means of equal steps from 0.1 to 1, with either sign;
    and 0 and 1.
    """
    values = [0.0, 1.0]
    for decade in range(7):
        steps = torch.linspace(0.1, 1, 2**decade + 1, dtype=torch.float32)
        means = (steps[:-1] + steps[1:]) / 2.0
        for sign in (1, -1):
            values += ((sign * 10 ** (decade - 6)) * means).tolist()
    return torch.tensor(sorted(values), dtype=torch.float32)


def library_mean(values: torch.Tensor) -> torch.Tensor:
    """The mean as the library gets it: its last bit depends on how many threads torch sums with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(LIBRARY_THREADS)
    try:
        return values.mean()
    finally:
        torch.set_num_threads(threads)


def nested_absmax(absmax: torch.Tensor, block: int = NESTED_BLOCK) -> torch.Tensor:
    """``absmax`` (float32, all blocks of one tensor) after a round trip through double quantisation.

    bitsandbytes' CPU code finds the 8-bit code through a table over 65,536 equal steps of [-1, 1] and not by comparing
    midpoints, so codes near a midpoint follow the table; the same table is built here.
    """
    code = dynamic_map()
    steps = torch.arange(65536, dtype=torch.float32) / 65535 * 2 - 1
    table = torch.bucketize(steps, (code[:-1] + code[1:]) / 2, out_int32=True)

    offset = library_mean(absmax)
    centred = absmax - offset
    scale = block_absmax(centred, block)
    spread = scale.repeat_interleave(block)[: centred.numel()]
    # the library computes fma((x + 1) / 2, 65535, 0.5) in float32; the product is exact in float64
    unit = (centred * (1.0 / spread)).clamp_(-1, 1).add_(1.0).mul_(0.5)
    step = unit.double().mul_(65535).add_(0.5).float()
    codes = table[step.nan_to_num_(0.0).long()]
    codes[spread == 0] = 0  # a block of zeros is stored as code 0, and code * 0 gives 0 back
    return code[codes] * spread + offset


def round_trip(
    weights: torch.Tensor, absmax: torch.Tensor, scale: torch.Tensor, block: int, scratch: Scratch
) -> torch.Tensor:
    """``value[code] * scale`` in float32 for a flat run of weights that begins at a block.

    ``absmax`` are the true block maxima, by which the weights are divided, and ``scale`` those that dequantisation
    uses. The result is a view into ``scratch``, good until its next use.
    """
    count = weights.numel()
    scaled, cell, bound = (buffer[:count] for buffer in (scratch.scaled, scratch.cell, scratch.bound))
    full = count // block * block
    blocks = full // block
    scaled.copy_(weights)
    if blocks:
        scaled[:full].view(-1, block).mul_((1.0 / absmax[:blocks].clamp(min=_TINY)).unsqueeze(1))
    if full < count:  # the library divides in a last, short block, where elsewhere it multiplies by the inverse
        scaled[full:].div_(absmax[blocks].clamp(min=_TINY)).clamp_(-1, 1)

    torch.add(torch.tensor(_ROUND), scaled, alpha=_CELLS_PER_UNIT, out=cell)
    slot = cell.view(torch.int32).bitwise_and_(_TABLE - 1)
    torch.index_select(_BOUND, 0, slot, out=bound)
    above = bound.sub_(scaled).view(torch.int32).bitwise_right_shift_(31)  # -1 where the weight exceeds the midpoint
    slot.add_(above, alpha=-_TABLE)
    value = torch.index_select(_VALUE, 0, slot, out=scaled)
    if blocks:
        value[:full].view(-1, block).mul_(scale[:blocks].unsqueeze(1))
    if full < count:
        value[full:].mul_(scale[blocks])
    return value
