"""With ``--gpu``: does the run fit the card? By the same estimate that `ql estimate` prints."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from launcher.errors import QlError
from launcher.rules.base import TRAINING, Config, Hit, rule
from launcher.trainers import get_trainer

if TYPE_CHECKING:
    from launcher.sizing import MemoryEstimate, MemoryRequest


@rule("QL851", "error", kinds=(TRAINING,))
def does_not_fit(c: Config) -> Iterator[Hit]:
    """A run that does not fit the card (with `--gpu`).

    It would stop with CUDA out of memory, often not in the first step but in the longest batch or the evaluation.
    """
    request = estimate_request(c)
    if request is None or c.card is None:
        return
    from dataclasses import replace

    estimate = _estimate(c, request)
    if estimate.fits or estimate.budget_gib is None:
        return
    largest = max(estimate.breakdown_gib, key=lambda part: estimate.breakdown_gib[part])
    message = (
        f"needs {estimate.needed_gib:.1f} GiB, and {c.card.name} has {estimate.budget_gib:.1f} GiB for a run "
        f"(the largest part: {largest.replace('_', ' ')}, {estimate.breakdown_gib[largest]:.1f} GiB)"
    )
    single = _estimate(c, replace(request, micro_batch_size=1, eval_batch_size=1))
    hint = (
        "micro_batch_size: 1 and eval_batch_size: 1 fit" if single.fits else "a shorter sequence_len, or another card"
    )
    yield c.at("micro_batch_size" if c.has("micro_batch_size") else (), message, hint)


def _estimate(c: Config, request: MemoryRequest) -> MemoryEstimate:
    from launcher.planning.estimate import without_evaluation
    from launcher.sizing import estimate_memory

    reader = get_trainer(c.kind).config_file
    evaluates = reader.evaluates(c) or reader.held_out(c) > 0
    memory = estimate_memory(request)
    return memory if evaluates else without_evaluation(memory)


def estimate_request(c: Config) -> MemoryRequest | None:
    """The job as `ql estimate` would ask for it, read back from the config.

    None where it cannot be known: keys that are missing, sizes below 1, an unknown model or optimizer, a job that
    sizing does not know.
    """
    if c.card is None or c.card.is_cpu or not c.is_estimated:
        return None
    from dataclasses import replace

    from launcher.catalog import load_gpu, load_model
    from launcher.planning.estimate import memory_request
    from launcher.planning.request import Request
    from launcher.sizing.memory import OPTIMIZER_BYTES
    from launcher.trainers.readback import Rows
    from launcher.yaml_source import Positions

    try:
        model = load_model(c.base_model)
    except QlError:
        return None
    gpu, codec = load_gpu(c.card.name), get_trainer(c.kind).codec
    if not codec.is_whole(c):
        return None
    values = codec.decode(c, "", Positions(), gpu, model, Rows()).values
    if values["optimizer"] not in OPTIMIZER_BYTES or None in (values["lora_r"], values["learning_rate"]):
        return None
    sizes = (values["sequence_len"], values["micro_batch_size"], values["eval_batch_size"], values["lora_r"])
    if any(size is not None and size < 1 for size in sizes):
        return None  # another rule says so: there is no job to estimate
    request = memory_request(values, Request(gpu=gpu, model=model, base_model=c.base_model, recipes={}))
    # What `ql calibrate` found here counts for a config as for a plan: else a launch would refuse its plan.
    return replace(request, correction=c.correction or request.correction)
