"""Worker job ``probe``: what the trainer's environment has. Imports torch, and no trainer."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys

from launcher.records.environment import CardProcess, Device, Probed, SeenCard
from launcher.records.jobs import Emit, ProbeRequest

GIB = 2**30
PACKAGES = (
    "torch", "transformers", "peft", "trl", "accelerate", "bitsandbytes", "safetensors",
    "flash-attn", "liger-kernel", "vllm", "wandb", "mlflow", "tensorboard", "trackio",
)  # fmt: skip


def run(request: ProbeRequest, emit: Emit) -> Probed:
    """What is there; nvidia-smi is asked too, which sees cards that torch cannot use."""
    processes = _smi("--query-compute-apps=pid,process_name,used_memory")
    return Probed(
        python=platform.python_version(),
        executable=sys.executable,
        versions={name: _version(name) for name in (*request.trainers, *PACKAGES)},
        devices=_devices(),
        cuda=_cuda(),
        arch_list=_architectures(),
        seen=[SeenCard(name=name, driver=driver) for name, driver in _smi("--query-gpu=name,driver_version")],
        processes=[
            CardProcess(pid=int(pid), name=name, gib=round(float(mib) / 1024, 3) if mib.isdigit() else None)
            for pid, name, mib in processes
            if pid.isdigit()
        ],
        unsupported=_unsupported(request.requires),
    )


def _cuda() -> str | None:
    """The CUDA version that torch is built for."""
    try:
        import torch
    except ImportError:
        return None
    version: str | None = torch.version.cuda
    return version


def _architectures() -> list[str]:
    """What torch has code for, such as sm_86; empty without CUDA."""
    try:
        import torch
    except ImportError:
        return []
    return list(torch.cuda.get_arch_list())


def _smi(query: str) -> list[list[str]]:
    """Rows of nvidia-smi's answer; none where it is missing or fails. https://docs.nvidia.com/deploy/nvidia-smi/"""
    command = ["nvidia-smi", query, "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    width = query.count(",") + 1
    rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines()]
    return [row for row in rows if len(row) == width]


def _unsupported(requires: list[str]) -> list[str]:
    """Which requirements the installed versions do not meet, in words; one that is not installed is not among them."""
    try:
        from packaging.requirements import Requirement
    except ImportError:  # only where no trainer is installed either: all of them depend on it
        return []
    found = []
    for text in requires:
        requirement = Requirement(text)
        version = platform.python_version() if requirement.name == "python" else _version(requirement.name)
        if version is not None and not requirement.specifier.contains(version, prereleases=True):
            found.append(f"{requirement.name} {version} is not a version that ql supports: {text}")
    return found


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _devices() -> list[Device]:
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
            Device(
                index=index,
                name=properties.name,
                compute_capability=f"{properties.major}.{properties.minor}",
                total_gib=round(total / GIB, 3),
                free_gib=round(free / GIB, 3),
            )
        )
    return devices
