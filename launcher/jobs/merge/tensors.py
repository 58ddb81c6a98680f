"""Safetensors files, read one piece at a time by plain file reads.

A memory-mapped checkpoint counts as resident memory page by page; a read into our own buffer does not. So the header
(8 bytes of length, that many bytes of JSON, then the data) is parsed here and the data is fetched by ``pread``.
Format: https://github.com/huggingface/safetensors#format.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from math import prod
from pathlib import Path

import torch

from launcher.errors import BadInput, Problem, Unreadable
from launcher.merge.manifest import INDEX, read_object

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
CODES = {dtype: code for code, dtype in DTYPES.items()}
FLOATS = {torch.float64, torch.float32, torch.float16, torch.bfloat16}
MAX_HEADER = 100 << 20  # bytes; the reference implementation's own limit

SINGLE = "model.safetensors"
CPU = torch.device("cpu")


@dataclass(frozen=True)
class TensorRef:
    """Where a tensor lies: ``start`` is its first byte in ``path``; the rows of a 2-D tensor follow one another."""

    name: str
    path: Path
    dtype: torch.dtype
    shape: tuple[int, ...]
    start: int

    @property
    def rows(self) -> int:
        return self.shape[0] if len(self.shape) >= 2 else 1

    @property
    def row_elements(self) -> int:
        return prod(self.shape[1:]) if len(self.shape) >= 2 else prod(self.shape)

    @property
    def elements(self) -> int:
        return prod(self.shape)

    @property
    def nbytes(self) -> int:
        size: int = self.elements * self.dtype.itemsize
        return size

    def read(self, first: int = 0, last: int | None = None, device: torch.device = CPU) -> torch.Tensor:
        """Rows ``first`` to ``last`` (exclusive; all by default) as a flat tensor in the stored dtype on ``device``.

        What goes to a GPU is read into page-locked memory, from which the copy takes a fraction of the time.

        Raises BadInput, naming the tensor, when the file ends before them.
        """
        last = self.rows if last is None else last
        count = (last - first) * self.row_elements
        out = torch.empty(count, dtype=self.dtype, pin_memory=device.type == "cuda")
        if count == 0:
            return out.to(device)
        view = memoryview(out.view(torch.uint8).numpy())
        offset = self.start + first * self.row_elements * self.dtype.itemsize
        with self.path.open("rb", buffering=0) as stream:
            done = 0
            while done < len(view):
                got = os.preadv(stream.fileno(), [view[done:]], offset + done)
                if got == 0:
                    raise BadInput(Problem(f"the file ends inside tensor {self.name!r}", file=str(self.path)))
                done += got
        return out.to(device)

    def tensor(self, device: torch.device = CPU) -> torch.Tensor:
        """The whole tensor in its stored dtype and shape."""
        return self.read(device=device).view(self.shape)


def read_header(path: Path) -> dict[str, TensorRef]:
    """The tensors of one safetensors file, in the order of their data.

    Raises BadInput when the file is not safetensors, is cut short, or holds a dtype that is not known.
    """

    def bad(message: str) -> BadInput:
        return BadInput(Problem(message, file=str(path), hint="fetch or write this file again"))

    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, MAX_HEADER):
                raise bad("not a safetensors file, or cut short: its header is longer than the file")
            header = json.loads(stream.read(length))
    except OSError as error:
        raise Unreadable(Problem(f"cannot be read: {error.strerror}", file=str(path))) from None
    except (ValueError, RecursionError):
        raise bad("not a safetensors file: its header is not JSON") from None
    if not isinstance(header, dict):
        raise bad("not a safetensors file: its header does not list tensors")
    header.pop("__metadata__", None)
    refs = []
    try:
        for name, entry in header.items():
            begin, end = entry["data_offsets"]
            if entry["dtype"] not in DTYPES:
                raise bad(f"tensor {name!r} has dtype {entry['dtype']}, which ql cannot merge")
            ref = TensorRef(name, path, DTYPES[entry["dtype"]], tuple(entry["shape"]), 8 + length + begin)
            if ref.nbytes != end - begin:
                raise bad(f"tensor {name!r} has {end - begin} bytes where its shape needs {ref.nbytes}")
            if 8 + length + end > size:
                raise bad(f"the file is cut short: it has {size} bytes and tensor {name!r} ends at {8 + length + end}")
            refs.append(ref)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise bad("not a safetensors file: its header does not list tensors") from None
    return {ref.name: ref for ref in sorted(refs, key=lambda ref: ref.start)}


def read_checkpoint(folder: Path) -> dict[str, TensorRef]:
    """All tensors of a model folder, file after file, whether it has one safetensors file or an index of shards.

    Raises Unreadable when there are no safetensors, BadInput when shards are missing, damaged or disagree with the
    index.
    """
    index = folder / INDEX
    if (folder / SINGLE).is_file():
        return read_header(folder / SINGLE)
    if not index.is_file():
        others = sorted(path.name for path in folder.glob("*.bin")) if folder.is_dir() else []
        hint = "it has only .bin files: convert them with transformers' save_pretrained" if others else None
        raise Unreadable(Problem("no model.safetensors and no index of shards in this folder", str(folder), hint=hint))
    weight_map: dict[str, str] = read_object(index).get("weight_map", {})
    files = sorted(set(weight_map.values()))
    missing = [file for file in files if not (folder / file).is_file()]
    if missing or not files:
        raise BadInput(
            [Problem(f"the index names {file}, which is not there", file=str(index)) for file in missing]
            or [Problem("the index has no weight_map", file=str(index))]
        )
    found: dict[str, TensorRef] = {}
    for file in files:
        found |= {name: ref for name, ref in read_header(folder / file).items() if weight_map.get(name) == file}
    lost = [name for name in weight_map if name not in found]
    if lost:
        raise BadInput([Problem(f"tensor {name!r} is in the index and in no shard", file=str(index)) for name in lost])
    return found


def shard_header(tensors: list[tuple[str, torch.dtype, tuple[int, ...]]]) -> bytes:
    """The header of a safetensors file that holds ``tensors`` in this order; data follows without gaps."""
    entries: dict[str, object] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for name, dtype, shape in tensors:
        size = prod(shape) * dtype.itemsize
        entries[name] = {"dtype": CODES[dtype], "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps(entries, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # the data begins at a multiple of eight bytes
    return len(text).to_bytes(8, "little") + text
