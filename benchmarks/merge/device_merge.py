"""The merge on a machine with a GPU: its time against a copy of the bytes, and codes that CUDA and CPU disagree on.

    PYTHONPATH=SITE python benchmarks/merge/device_merge.py codes --out $OUT/codes.json
    PYTHONPATH=SITE python benchmarks/merge/device_merge.py merge --work /big/disk --out $OUT/merge.json

`codes` quantises every matrix of a 7B (random, as initialised) on both devices with bitsandbytes and counts what
differs: 4-bit codes, 8-bit codes of the absmax values, and the weights that come back. `merge` makes a random 8B in
bfloat16 and an r=16 adapter, merges it on the GPU and on the CPU, and copies the result with `cp`; every run starts
with the base in the page cache, and its time runs until the output is on the disk. Needs torch, bitsandbytes and the ql
checkout only. --size tiny tries both on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from models import ROOT, SHAPES, Shape, in_child, make_adapter, make_base, measure, read_once


def count_codes(shape: Shape, load_dtype: str, seconds: float) -> dict[str, Any]:
    """Quantise every projection on both devices; stops after ``seconds`` and says how far it came."""
    import bitsandbytes.functional as bnb
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, load_dtype)
    generator = torch.Generator(device).manual_seed(0)
    totals = dict.fromkeys(("weights", "codes", "absmax_blocks", "absmax", "absmax_codes", "offsets", "values"), 0)
    largest = 0.0
    tensors = 0
    begin = time.monotonic()
    for _ in range(shape.layers):
        for extent in shape.projections.values():
            if time.monotonic() - begin > seconds:
                break
            there = (torch.randn(extent, device=device, generator=generator) * 0.02).to(dtype)
            here = there.cpu()
            gpu_codes, gpu = bnb.quantize_4bit(there, quant_type="nf4", compress_statistics=True)
            cpu_codes, cpu = bnb.quantize_4bit(here, quant_type="nf4", compress_statistics=True)
            different = gpu_codes.cpu().view(-1) ^ cpu_codes.view(-1)
            gpu_absmax = bnb.dequantize_blockwise(gpu.absmax, gpu.state2) + gpu.offset
            cpu_absmax = bnb.dequantize_blockwise(cpu.absmax, cpu.state2) + cpu.offset
            gpu_values, cpu_values = bnb.dequantize_4bit(gpu_codes, gpu).cpu(), bnb.dequantize_4bit(cpu_codes, cpu)
            totals["weights"] += here.numel()
            totals["codes"] += int((different >> 4 != 0).sum() + (different & 15 != 0).sum())
            totals["absmax_blocks"] += cpu.absmax.numel()
            totals["absmax"] += int((gpu_absmax.cpu() != cpu_absmax).sum())
            totals["absmax_codes"] += int((gpu.absmax.cpu() != cpu.absmax).sum())
            totals["offsets"] += int(gpu.offset.cpu() != cpu.offset)
            totals["values"] += int((gpu_values != cpu_values).sum())
            distance = (gpu_values.float() - cpu_values.float()).norm() / cpu_values.float().norm()
            largest = max(largest, float(distance))
            tensors += 1
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
        "load_dtype": load_dtype,
        "tensors": tensors,
        "seconds": round(time.monotonic() - begin, 1),
        "different": totals,
        "largest_relative_difference_of_a_tensor": largest,
    }


def make_inputs(base: Path, adapter: Path, size: str, device: str) -> None:
    make_base(base, SHAPES[size])
    make_adapter(adapter, base, SHAPES[size], device)


def time_merges(size: str, work: Path, runs: int, devices: list[str], save: Any) -> dict[str, Any]:
    base, adapter, out, merged = (work / name for name in ("base", "adapter", "out", "merged"))
    if not base.exists():
        in_child(make_inputs, base, adapter, size, devices[0])
    record = json.loads((adapter / "quantization.json").read_text())
    results: dict[str, Any] = {"size": size, "cores": len(os.sched_getaffinity(0)), "runs": {}}
    for _ in range(runs):
        for contender in (*devices, "cp"):
            shutil.rmtree(out, ignore_errors=True)
            read_once(base)
            request = {"base": str(base), "adapter": str(adapter), "out": str(out), "record": record}
            (work / "request.json").write_text(json.dumps({**request, "device": contender}))
            argv = [sys.executable, str(ROOT / "launcher" / "worker.py"), "merge", str(work / "request.json")]
            if contender == "cp":
                argv = ["cp", "-r", str(merged), str(out)]
            found = measure(argv, work / f"{contender}.log", out)
            if found["exit_code"]:
                found["log"] = (work / f"{contender}.log").read_text()[-2000:]
            print(contender, found, flush=True)
            results["runs"].setdefault(contender, []).append(found)
            if contender != "cp" and found["exit_code"] == 0:
                shutil.rmtree(merged, ignore_errors=True)
                out.rename(merged)
            save(results)
    shutil.rmtree(out, ignore_errors=True)
    best = {
        name: min((run["seconds_synced"] for run in found if run["exit_code"] == 0), default=None)
        for name, found in results["runs"].items()
    }
    results["best_seconds_synced"] = best
    results["ratio_to_cp"] = {name: round(best[name] / best["cp"], 2) for name in devices if best[name] and best["cp"]}
    save(results)
    return results


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["codes", "merge"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/device_merge"))
    parser.add_argument("--size", choices=SHAPES)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=240, help="codes: stop after so long, for each dtype")
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)

    def save(data: dict[str, Any]) -> None:
        args.out.write_text(json.dumps(data, indent=1) + "\n")

    if args.step == "codes":
        shape = SHAPES[args.size or "7b"]
        save({dtype: count_codes(shape, dtype, args.seconds) for dtype in ("bfloat16", "float16")})
    else:
        time_merges(args.size or "8b", args.work, args.runs, args.devices, save)
    print(args.out.read_text())


if __name__ == "__main__":
    main()
