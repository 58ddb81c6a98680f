"""Worker job ``probe``: what the trainer's environment has. Imports torch, and no trainer."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Callable
from typing import Any

GIB = 2**30
PACKAGES = (
    "axolotl", "unsloth", "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "safetensors",
    "flash-attn", "liger-kernel", "vllm", "wandb", "mlflow", "tensorboard", "trackio",
)  # fmt: skip


def run(request: dict[str, Any], emit: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """``{}`` → python, executable, versions (None where not installed), devices with memory in GiB."""
    return {
        "python": platform.python_version(),
        "executable": sys.executable,
        "versions": {name: _version(name) for name in PACKAGES},
        "devices": _devices(),
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[dict[str, Any]]:
    try:
        import torch
    except ImportError:
        return []
    if not torch.cuda.is_available():
        return []
    devices = []
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        free, total = torch.cuda.mem_get_info(index)
        devices.append(
            {
                "index": index,
                "name": properties.name,
                "compute_capability": f"{properties.major}.{properties.minor}",
                "total_gib": round(total / GIB, 3),
                "free_gib": round(free / GIB, 3),
            }
        )
    return devices
