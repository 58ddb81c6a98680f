"""bitsandbytes itself, the authority on its own formats: imported only where our own code does not stand in for it.

Importing it takes seconds and some 200 MB (it brings half of the training stack), which is most of what a small merge
costs; so on a CPU it is asked only when its version is one that the property test has not covered.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from functools import cache
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import torch

from launcher.errors import RunFailed
from launcher.jobs.merge import nf4

VERIFIED = frozenset({"0.50.2"})
"""Versions whose CPU code our NF4 is tested against, bit for bit."""


def installed() -> str | None:
    """The version of bitsandbytes in this environment, or None."""
    try:
        return version("bitsandbytes")
    except PackageNotFoundError:
        return None


def import_ahead() -> None:
    """Begin to import the library in a thread of its own, while the first tensors, which it does not touch, are read.

    An error shows where the library is used.
    """

    def work() -> None:
        with suppress(Exception):
            import_module("bitsandbytes.functional")

    threading.Thread(target=work, name="ql-import", daemon=True).start()


def four_bit_round_trip(weights: torch.Tensor, kind: str, block: int, double_quant: bool) -> torch.Tensor:
    """``weights`` quantised and dequantised by the library on their own device, in their dtype.

    As one long row: on a CPU with AVX512 the library (0.50.2) dequantises rows that do not end with a block wrongly.
    """
    try:
        from bitsandbytes import functional
    except ImportError:
        raise RunFailed("bitsandbytes is not installed", hint="install the trainer's environment completely") from None
    row = weights.reshape(1, -1)
    codes, state = functional.quantize_4bit(row, blocksize=block, compress_statistics=double_quant, quant_type=kind)
    restored: torch.Tensor = functional.dequantize_4bit(codes, state)
    return restored.view_as(weights)


@cache
def agrees_with_nf4() -> bool:
    """Whether our NF4 gives the installed library's bits on a CPU: known of tested versions, tried on others."""
    if installed() in VERIFIED:
        return True
    weights = torch.randn(300, 320, generator=torch.Generator().manual_seed(0)).to(torch.bfloat16)
    flat = weights.flatten()
    absmax = nf4.block_absmax(flat, 64)
    scale = nf4.nested_absmax(absmax)
    ours = nf4.round_trip(flat, absmax, scale, 64, nf4.Scratch(flat.numel())).to(torch.bfloat16)
    theirs = four_bit_round_trip(weights, "nf4", 64, True)
    return bool(torch.equal(ours.view_as(weights), theirs))
