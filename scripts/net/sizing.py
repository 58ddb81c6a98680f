"""What the memory and speed models say of every measured job. No verb asks for these: this is the one way in."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Any

from load_script import load_script
from net.work import ROOT

BENCHMARKS = ROOT / "benchmarks" / "sizing"
CARDS = ("a10g", "4090", "h100", "h200")


def predictions() -> dict[str, dict[str, Any]]:
    """Name of a measured or blind case: each figure that is predicted of it."""
    before = list(sys.path)
    try:
        residuals, blind = load_script(BENCHMARKS / "residuals.py"), load_script(BENCHMARKS / "blind.py")
        requests = {f"measured {case.name}": case.request for case in residuals.read()}
        for job in blind.jobs():
            for shape in job["shapes"]:
                raw = blind._raw(job, shape)
                requests[f"blind {blind.case_name({**job, 'shape': shape})}"] = blind.request_of(raw)
    finally:
        sys.path[:] = before
    return {name: predict(request) for name, request in requests.items()}


def predict(request: Any) -> dict[str, Any]:
    """The memory of one job, in GiB, and its speed on a few cards, in tokens a second."""
    from launcher.catalog import load_gpu
    from launcher.sizing import estimate_memory, flops_per_token, tokens_per_second

    return {
        "memory": asdict(estimate_memory(request)),
        "flops_per_token": flops_per_token(request),
        "tokens_per_second": {card: tokens_per_second(request, load_gpu(card)) for card in CARDS},
    }
