"""The merge on a machine with a GPU: its time against a copy of the bytes, and codes that CUDA and CPU disagree on.

    python benchmarks/merge/device_merge.py merge --work /big/disk --out merge.json --devices cuda --limit 110
    python benchmarks/merge/device_merge.py codes --out codes.json

`merge` makes a random 8B in bfloat16 and an r=16 adapter, merges it on each device, and copies the result with `cp`;
every run starts with the base in the page cache, and its time runs until the output is on the disk. Then it recomputes
a few tensors with bitsandbytes and compares bits, and kills a merge half way and lets it go on. `codes` quantises
every matrix of a 7B (random, as initialised) on both devices with bitsandbytes and counts what differs: 4-bit codes,
8-bit codes of the absmax values, and the weights that come back. Needs torch, safetensors, bitsandbytes and the ql
checkout only. --size tiny tries both on any machine.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.merge.models import (
    ALPHA,
    RANK,
    ROOT,
    SHAPES,
    Shape,
    in_child,
    make_adapter,
    make_base,
    measure,
    read_once,
)


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


def check_bits(base: Path, adapter: Path, merged: Path, device: str) -> dict[str, int]:
    """Some tensors of a merge computed again, each in one piece and by bitsandbytes itself; counts what differs."""
    import bitsandbytes.functional as bnb
    from safetensors import safe_open

    record = json.loads((adapter / "quantization.json").read_text())

    def tensor(folder: Path, name: str) -> Any:
        file = json.loads((folder / "model.safetensors.index.json").read_text())["weight_map"][name]
        with safe_open(folder / file, "pt") as stream:
            return stream.get_tensor(name).to(device)

    modules = record["quantized_modules"]
    found = {"tensors": 0, "weights": 0, "differing": 0}
    for module in ["model.embed_tokens", "lm_head", *modules[:: max(1, len(modules) // 24)]]:
        wanted = tensor(base, f"{module}.weight").half()
        if module in modules:
            codes, state = bnb.quantize_4bit(wanted, quant_type="nf4", compress_statistics=True)
            with safe_open(adapter / "adapter_model.safetensors", "pt") as stream:
                a, b = (stream.get_tensor(f"base_model.model.{module}.lora_{part}.weight").to(device) for part in "AB")
            wanted = (bnb.dequantize_4bit(codes, state).float() + ALPHA / RANK * (b @ a)).half()
        found["tensors"] += 1
        found["weights"] += wanted.numel()
        found["differing"] += int((wanted != tensor(merged, f"{module}.weight")).sum())
    return found


def kill_half_way(argv: list[str], out: Path, merged: Path, log: Path) -> dict[str, Any]:
    """Kill a merge when it says that half is done, let it go on, and compare the sums of all shards."""
    begin = time.monotonic()
    with log.open("wb") as stream:
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=stream, text=True)
        assert process.stdout is not None
        for line in process.stdout:
            if json.loads(line).get("fraction", 0) > 0.5:
                process.kill()
                break
        process.wait()
    resumed = measure(argv, log, out)
    again, first = (json.loads((folder / "merge.json").read_text())["shards"] for folder in (out, merged))
    return {
        "killed_with": process.returncode,
        "resumed": resumed,
        "shards": len(again),
        "shards_equal": sum(one == other for one, other in zip(again, first, strict=True)),
        "seconds_in_all": round(time.monotonic() - begin, 1),
    }


def time_merges(args: argparse.Namespace, begin: float, save: Any) -> dict[str, Any]:
    size, work, devices = args.size or "8b", args.work, args.devices
    base, adapter, out, merged = (work / name for name in ("base", "adapter", "out", "merged"))
    if not base.exists():
        in_child(make_inputs, base, adapter, size, devices[0])
    record = json.loads((adapter / "quantization.json").read_text())
    results: dict[str, Any] = {"size": size, **in_child(machine), "runs": {}}

    def has_time() -> bool:
        results["seconds_in_all"] = round(time.monotonic() - begin, 1)
        save(results)
        return bool(time.monotonic() - begin < args.limit)

    def command(device: str) -> list[str]:
        request = {"base": str(base), "adapter": str(adapter), "out": str(out), "record": record, "device": device}
        (work / "request.json").write_text(json.dumps(request))
        return [sys.executable, str(ROOT / "launcher" / "jobs" / "worker.py"), "merge", str(work / "request.json")]

    read_once(base)
    for _ in range(args.runs):
        for contender in (*devices, "cp"):
            if not has_time():
                break
            shutil.rmtree(out, ignore_errors=True)
            argv = ["cp", "-r", str(merged), str(out)] if contender == "cp" else command(contender)
            found = measure(argv, work / f"{contender}.log", out)
            if found["exit_code"]:
                found["log"] = (work / f"{contender}.log").read_text()[-2000:]
            print(contender, found, flush=True)
            results["runs"].setdefault(contender, []).append(found)
            if contender != "cp" and found["exit_code"] == 0:
                shutil.rmtree(merged, ignore_errors=True)
                out.rename(merged)
        if "recomputed" not in results and has_time():
            results["recomputed"] = in_child(check_bits, base, adapter, merged, devices[-1])
    best = {
        name: min((run["seconds_synced"] for run in found if run["exit_code"] == 0), default=None)
        for name, found in results["runs"].items()
    }
    results["best_seconds_synced"] = best
    floor = best.get("cp")
    results["ratio_to_cp"] = {name: round(best[name] / floor, 2) for name in devices if floor and best.get(name)}
    if has_time():
        shutil.rmtree(out, ignore_errors=True)
        results["killed"] = kill_half_way(command(devices[-1]), out, merged, work / "killed.log")
    has_time()
    shutil.rmtree(out, ignore_errors=True)
    return results


def machine() -> dict[str, Any]:
    import torch

    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {"gpu": gpu, "cores": len(os.sched_getaffinity(0)), "torch": str(torch.__version__)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("step", choices=["codes", "merge"])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--work", type=Path, default=Path("/tmp/device_merge"))
    parser.add_argument("--size", choices=SHAPES)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--devices", nargs="+", default=["cuda", "cpu"])
    parser.add_argument("--seconds", type=float, default=240, help="codes: stop after so long, for each dtype")
    parser.add_argument("--limit", type=float, default=3600, help="merge: begin nothing new after so many seconds")
    args = parser.parse_args()
    begin = time.monotonic()
    args.work.mkdir(parents=True, exist_ok=True)

    def save(data: dict[str, Any]) -> None:
        args.out.write_text(json.dumps(data, indent=1) + "\n")

    if args.step == "codes":
        shape = SHAPES[args.size or "7b"]
        save({dtype: count_codes(shape, dtype, args.seconds) for dtype in ("bfloat16", "float16")})
    else:
        time_merges(args, begin, save)
    print(args.out.read_text())


if __name__ == "__main__":
    main()
