"""The numbers of an adapter, looked at before a byte is written: what is not finite, and what changes nothing."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from launcher.errors import BadInput, Problem
from launcher.jobs.merge.adapter import Adapter
from launcher.jobs.merge.tensors import FLOATS, TensorRef

_CHUNK = 16 << 20  # elements read at a time
_SHOWN = 8  # tensors that are named


def check_values(adapter: Adapter) -> None:
    """Add notes on updates that change nothing. Raises BadInput with the adapter's tensors that are not finite."""
    bad = [ref for ref in _whole(adapter) if not all(bool(torch.isfinite(part).all()) for part in _parts(ref))]
    if bad:
        path = str(bad[0].path)
        hint = "training diverged, or ran out of float16's range: merge an earlier checkpoint, or train in bfloat16"
        problems = [Problem(f"tensor {ref.name!r} has non-finite values", path) for ref in bad[:_SHOWN]]
        if len(bad) > _SHOWN:
            problems.append(Problem(f"and {len(bad) - _SHOWN} more tensors have non-finite values", path))
        last = problems[-1]
        raise BadInput([*problems[:-1], Problem(last.message, path, hint=hint)])
    halves = [update.b for update in adapter.updates.values()] + [b for _, b in adapter.wrapped.values()]
    zero = sum(all(not bool(part.any()) for part in _parts(ref)) for ref in halves)
    if zero and zero == len(halves):
        others = bool(adapter.replacements or adapter.tokens)
        beside = "" if others else ": the merged model is its base. Was it trained, and is this its last checkpoint?"
        adapter.notes.append(f"every B matrix of the adapter is zero, so its updates change nothing{beside}")
    elif zero:
        adapter.notes.append(f"{zero} of {len(halves)} updates of the adapter have a zero B matrix and change nothing")


def _whole(adapter: Adapter) -> Iterator[TensorRef]:
    """Every tensor that the merge reads of the adapter."""
    for update in adapter.updates.values():
        yield from (ref for ref in (update.a, update.b, update.magnitude, update.bias) if ref is not None)
    for pair in adapter.wrapped.values():
        yield from pair
    yield from adapter.replacements.values()
    yield from (ref for _, ref in adapter.tokens.values())


def _parts(ref: TensorRef) -> Iterator[torch.Tensor]:
    """A tensor's numbers, a few million at a time; nothing of one that holds no floats."""
    if ref.dtype not in FLOATS:
        return
    step = max(1, _CHUNK // max(1, ref.row_elements))
    for row in range(0, ref.rows, step):
        yield ref.read(row, min(row + step, ref.rows))
