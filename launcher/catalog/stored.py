"""How a base is stored that bitsandbytes has already quantised: read from its config.json and its weights, no torch.

bitsandbytes keeps, beside each packed weight, a state of a few hundred bytes of JSON that names the dtype which
dequantisation gives: that of the weights before they were quantised. Loading the base for another compute dtype
leaves it as it is (transformers 5.16, bitsandbytes 0.50).
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from launcher.catalog.types import Stored

STATES = (".quant_state.bitsandbytes__nf4", ".quant_state.bitsandbytes__fp4")
DTYPES = ("float16", "bfloat16", "float32")
LARGEST_HEADER = 100 * 2**20  # bytes; safetensors itself refuses a longer one
LARGEST_STATE = 4096  # bytes; one has about 150


def read_stored(folder: Path, config: Mapping[str, object]) -> Stored | None:
    """How the base in ``folder``, whose config.json is ``config``, is stored in 4 bit; None for any other base.

    Never fails: what cannot be read leaves the dtype unknown, and whoever loads the weights says what is wrong.
    """
    quantised = config.get("quantization_config")
    if not isinstance(quantised, dict) or quantised.get("quant_method", "bitsandbytes") != "bitsandbytes":
        return None
    if not (quantised.get("load_in_4bit") or quantised.get("_load_in_4bit")):
        return None
    kind = quantised.get("bnb_4bit_quant_type", "fp4")  # transformers' BitsAndBytesConfig: the defaults
    if kind not in ("nf4", "fp4"):
        return None
    double = bool(quantised.get("bnb_4bit_use_double_quant", False))
    dtype = _dtype_of_states(folder) or _dtype_of_config(config)
    return Stored(kind, double, dtype)  # type: ignore[arg-type] # one of DTYPES


def quantised_otherwise(config: Mapping[str, object]) -> str | None:
    """What a base is stored in that is neither 16 bit nor 4 bit of bitsandbytes; None for one that ql can train on."""
    quantised = config.get("quantization_config")
    if not isinstance(quantised, dict):
        return None
    method = quantised.get("quant_method", "bitsandbytes")
    if method != "bitsandbytes":
        return str(method)
    return "8 bit by bitsandbytes" if quantised.get("load_in_8bit") or quantised.get("_load_in_8bit") else None


def _dtype_of_config(config: Mapping[str, object]) -> str | None:
    """The dtype the checkpoint was saved from, which is that of its states: for a base whose weights are not here."""
    name = str(config.get("dtype") or config.get("torch_dtype") or "").removeprefix("torch.")
    return name if name in DTYPES else None


def _dtype_of_states(folder: Path) -> str | None:
    for shard in sorted(folder.glob("*.safetensors")):
        try:
            with shard.open("rb") as stream:
                for state in _states(stream):
                    if state.get("dtype") in DTYPES:
                        return str(state["dtype"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError, struct.error):
            continue  # cut off, or no safetensors file: the preflight says so
    return None


def _states(stream: BinaryIO) -> Iterator[dict[str, object]]:
    """The quantisation states of a shard. Format: https://huggingface.co/docs/safetensors."""
    (length,) = struct.unpack("<Q", stream.read(8))
    if length > LARGEST_HEADER:
        return
    header = json.loads(stream.read(length))
    for name, entry in header.items():
        if name.endswith(STATES):
            first, last = entry["data_offsets"]
            if 0 <= first < last <= first + LARGEST_STATE:
                stream.seek(8 + length + first)
                state = json.loads(stream.read(last - first))
                if isinstance(state, dict):
                    yield state
