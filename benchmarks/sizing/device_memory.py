"""What a process takes of its device: torch's peaks, the driver's figure, and what was alive at the peak."""

from __future__ import annotations

import contextlib
import gc
import os
from pathlib import Path
from typing import Any

GIB = 2**30


class Device:
    """Peaks of torch's allocator, and what the driver says of this process. On a CPU everything is 0."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.cuda = torch.cuda.is_available()
        self.handle = None
        if self.cuda:
            # Axolotl resets the peaks whenever it logs, Trainer may; only the probe does from here on.
            self.reset_peaks = torch.cuda.reset_peak_memory_stats
            torch.cuda.reset_peak_memory_stats = lambda *args, **kwargs: None
            with contextlib.suppress(Exception):
                import pynvml

                pynvml.nvmlInit()
                self.nvml, self.handle = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)

    def clear(self) -> None:
        gc.collect()
        if self.cuda:
            self.torch.cuda.synchronize()
            self.torch.cuda.empty_cache()
            self.reset_peaks()

    def peaks(self) -> dict[str, float]:
        if not self.cuda:
            return {"allocated_gib": 0.0, "reserved_gib": 0.0}
        cuda = self.torch.cuda
        return {
            "allocated_gib": round(cuda.max_memory_allocated() / GIB, 4),
            "reserved_gib": round(cuda.max_memory_reserved() / GIB, 4),
        }

    def now(self) -> dict[str, Any]:
        """Memory at this moment; ``process_gib`` is the driver's figure for this process, None where it has none."""
        if not self.cuda:
            return {"allocated_gib": 0.0, "reserved_gib": 0.0, "process_gib": None, "device_gib": 0.0}
        cuda = self.torch.cuda
        free, total = cuda.mem_get_info()
        found: dict[str, Any] = {
            "allocated_gib": round(cuda.memory_allocated() / GIB, 4),
            "reserved_gib": round(cuda.memory_reserved() / GIB, 4),
            "device_gib": round((total - free) / GIB, 4),
            "process_gib": None,
            "neighbours": None,
        }
        if self.handle is not None:
            with contextlib.suppress(Exception):
                users = self.nvml.nvmlDeviceGetComputeRunningProcesses(self.handle)
                mine = [user.usedGpuMemory for user in users if user.pid == os.getpid()]
                found["neighbours"] = len(users) - len(mine)
                if mine and mine[0]:
                    found["process_gib"] = round(mine[0] / GIB, 4)
        return found

    def facts(self) -> dict[str, Any]:
        if not self.cuda:
            return {"name": "cpu"}
        properties = self.torch.cuda.get_device_properties(0)
        found = {
            "name": properties.name,
            "total_gib": round(properties.total_memory / GIB, 3),
            "compute_capability": f"{properties.major}.{properties.minor}",
        }
        if self.handle is not None:
            found["driver"] = self.nvml.nvmlSystemGetDriverVersion()
        return found

    def record(self) -> None:
        """Keep what is allocated from here on, and where."""
        self.torch.cuda.memory._record_memory_history(max_entries=400_000, stacks="python")

    def stop_recording(self) -> None:
        self.torch.cuda.memory._record_memory_history(enabled=None)

    def composition(self) -> list[dict[str, Any]]:
        """What was alive at the peak of the recording."""
        return composition(self.torch.cuda.memory._snapshot())


def composition(snapshot: dict[str, Any]) -> list[dict[str, Any]]:
    """What was alive at the peak of the recorded trace, largest first: bytes, count and where it was allocated.

    Blocks older than the recording are not in it.
    """
    live: dict[int, dict[str, Any]] = {}
    total = peak = 0
    at_peak: list[dict[str, Any]] = []
    events = snapshot["device_traces"][0]
    rising = False
    for event in events:
        if event["action"] == "alloc":
            live[event["addr"]] = event
            total += event["size"]
            rising = True
        elif event["action"] == "free_completed" and event["addr"] in live:
            if rising and total > peak:
                peak, at_peak = total, list(live.values())
            rising = False
            total -= live.pop(event["addr"])["size"]
    groups: dict[tuple[int, str], int] = {}
    for event in at_peak:
        frames = [f"{Path(f['filename']).name}:{f['line']} {f['name']}" for f in event.get("frames", [])]
        telling = [frame for frame in frames if not frame.startswith(("_ops.py", "module.py"))][:4]
        key = (event["size"], " < ".join(telling))
        groups[key] = groups.get(key, 0) + 1
    largest = sorted(groups.items(), key=lambda group: -group[0][0] * group[1])
    found = [{"bytes": size, "count": count, "where": where} for (size, where), count in largest]
    return [{"peak_bytes": peak}, *found[:45]]
