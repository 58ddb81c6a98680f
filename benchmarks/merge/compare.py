"""Merge the same adapter into the same base with ql and with its peers, side by side, and write down what it cost.

    python benchmarks/merge/compare.py --work /big/disk --out benchmarks/merge/results.json [--sizes 0.7b 3b] [--runs 2]

Contenders: ql's merge job (as `ql merge` and `ql launch` start it), `axolotl merge-lora` (its default and `legacy`),
peft (load in NF4, dequantize, merge_and_unload, save), and `cp` of the merged folder as the physical floor. Each is a
process of its own on a base that has been read once before (page cache). `seconds` is until the process ends,
`seconds_synced` until its output is on the disk as well; ql syncs by itself. `peak_mb` is VmHWM of the process.
With --fidelity SIZE each output of that size is also run in float32 and compared with the NF4 base + adapter, unmerged.
What --out already holds is added to. Run it under the python that has Axolotl, peft and bitsandbytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.merge.models import ALPHA, RANK, ROOT, SHAPES, in_child, make_adapter, make_base, measure, read_once

PEFT = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig
from peft import PeftModel
base, adapter, out = sys.argv[1:]
nf4 = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True)
model = AutoModelForCausalLM.from_pretrained(base, quantization_config=nf4, dtype=torch.float16)
model = PeftModel.from_pretrained(model.dequantize(), adapter).merge_and_unload()
model.to(torch.float16).save_pretrained(out)
AutoTokenizer.from_pretrained(base).save_pretrained(out)
"""


def make_inputs(base: Path, adapter: Path, size: str) -> None:
    make_base(base, SHAPES[size])
    make_adapter(adapter, base, SHAPES[size])


def commands(base: Path, adapter: Path, out: Path, merged: Path, scratch: Path) -> dict[str, list[str]]:
    """What each contender runs, to write to ``out`` (Axolotl: to ``out/merged``)."""
    record = json.loads((adapter / "quantization.json").read_text())
    request = {"base": str(base), "adapter": str(adapter), "out": str(out), "record": record, "device": "cpu"}
    (scratch / "request.json").write_text(json.dumps(request))
    axolotl = {
        "base_model": str(base),
        "adapter": "qlora",
        "load_in_4bit": True,
        "lora_r": RANK,
        "lora_alpha": ALPHA,
        "lora_target_linear": True,
        "lora_model_dir": str(adapter),
        "output_dir": str(out),
        "datasets": [{"path": "none.jsonl", "type": "alpaca"}],
        "sequence_len": 512,
        "micro_batch_size": 1,
        "gradient_accumulation_steps": 1,
        "learning_rate": 1e-4,
        **dict.fromkeys(("lora_mlp_kernel", "lora_qkv_kernel", "lora_o_kernel", "lora_embedding_kernel"), False),
    }
    (scratch / "default.yaml").write_text(json.dumps(axolotl))
    (scratch / "legacy.yaml").write_text(json.dumps({**axolotl, "merge_method": "legacy"}))
    (scratch / "peft_merge.py").write_text(PEFT)
    cli = [sys.executable, "-m", "axolotl.cli.main", "merge-lora"]
    return {
        "ql": [sys.executable, str(ROOT / "launcher" / "jobs" / "worker.py"), "merge", str(scratch / "request.json")],
        "axolotl default": [*cli, str(scratch / "default.yaml")],
        "axolotl legacy": [*cli, str(scratch / "legacy.yaml")],
        "peft dequantize": [sys.executable, str(scratch / "peft_merge.py"), str(base), str(adapter), str(out)],
        "cp": ["cp", "-r", str(merged), str(out)],
    }


def fidelity(base: Path, adapter: Path, outputs: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Logits on 1,024 random tokens in float32: every output against NF4 base + adapter, unmerged."""
    import bitsandbytes.functional as bnb
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.randint(0, SHAPES["0.7b"].vocabulary, (4, 256), generator=torch.Generator().manual_seed(3))

    def logits(model: Any) -> Any:
        with torch.no_grad():
            return model.float().eval()(ids).logits.view(1024, -1)

    record = json.loads((adapter / "quantization.json").read_text())
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, record["load_dtype"]))
    for name in record["quantized_modules"]:
        module = model.get_submodule(name)
        codes, state = bnb.quantize_4bit(module.weight.data, quant_type="nf4", compress_statistics=True)
        module.weight = torch.nn.Parameter(bnb.dequantize_4bit(codes, state))
    wanted = logits(PeftModel.from_pretrained(model.float(), adapter))
    del model
    found = {}
    p = wanted.double().log_softmax(-1)
    for contender, folder in outputs.items():
        lone = folder / "model-00001-of-00001.safetensors"
        if lone.is_file() and not (folder / "model.safetensors.index.json").is_file():
            lone.rename(folder / "model.safetensors")  # Axolotl's default writes no index, and nothing loads without
        other = logits(AutoModelForCausalLM.from_pretrained(folder, dtype="auto"))
        q = other.double().log_softmax(-1)
        found[contender] = {
            "relative_l2": float((other - wanted).norm() / wanted.norm()),
            "kl": float((p.exp() * (p - q)).sum(-1).mean()),
            "argmax_agreement": float((other.argmax(-1) == wanted.argmax(-1)).double().mean()),
        }
    return found


def run_size(size: str, args: argparse.Namespace) -> dict[str, Any]:
    work = args.work / size
    base, adapter = work / "base", work / "adapter"
    if not base.exists():
        in_child(make_inputs, base, adapter, size)
    merged = work / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    results: dict[str, list[dict[str, Any]]] = {}
    outputs = {}
    for round_number in range(args.runs):
        for contender in args.contenders:
            out = work / "out"
            shutil.rmtree(out, ignore_errors=True)
            read_once(base)
            argv = commands(base, adapter, out, merged, work)[contender]
            found = measure(argv, work / f"{contender.replace(' ', '-')}.log", out)
            results.setdefault(contender, []).append(found)
            print(size, contender, found, flush=True)
            folder = out / "merged" if (out / "merged").is_dir() else out
            if contender == "ql" and found["exit_code"] == 0:
                shutil.rmtree(merged, ignore_errors=True)
                out.rename(merged)
                outputs["ql"] = merged
            elif size in args.fidelity and round_number == 0 and contender != "cp" and found["exit_code"] == 0:
                kept = work / f"kept-{contender.replace(' ', '-')}"
                shutil.rmtree(kept, ignore_errors=True)
                folder.rename(kept)
                outputs[contender] = kept
            shutil.rmtree(out, ignore_errors=True)
    data: dict[str, Any] = {"layers": SHAPES[size].layers, "contenders": results}
    if size in args.fidelity:
        data["fidelity"] = in_child(fidelity, base, adapter, outputs)
    for kept in work.glob("kept-*"):
        shutil.rmtree(kept)
    return data


def best(runs: list[dict[str, Any]], key: str) -> float:
    values: list[float] = [run[key] for run in runs if run["exit_code"] == 0]
    return min(values)


def table(results: dict[str, Any]) -> str:
    """The results as a table in Markdown: the best of the runs of each, with ratios against ql."""
    lines = ["| size | merge | s | s, synced | peak MB | time / ql | memory / ql |", "|---|---|---|---|---|---|---|"]
    for size, data in results["sizes"].items():
        done = {name: runs for name, runs in data["contenders"].items() if any(r["exit_code"] == 0 for r in runs)}
        for name, runs in done.items():
            seconds, synced, peak = (best(runs, key) for key in ("seconds", "seconds_synced", "peak_mb"))
            time_ratio = synced / best(done["ql"], "seconds_synced")
            memory_ratio = peak / best(done["ql"], "peak_mb")
            cells = f"{seconds:.1f} | {synced:.1f} | {peak:,.0f} | {time_ratio:.2f} | {memory_ratio:.2f}"
            lines.append(f"| {size} | {name} | {cells} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, required=True, help="a folder with room for three copies of the model")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", choices=SHAPES, default=["0.7b", "3b"])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--fidelity", nargs="*", choices=SHAPES, default=[], help="sizes whose outputs are run")
    parser.add_argument(
        "--contenders", nargs="+", default=["ql", "axolotl default", "axolotl legacy", "peft dequantize", "cp"]
    )
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    from importlib.metadata import version

    results: dict[str, Any] = {
        "date": time.strftime("%Y-%m-%d"),
        "cores": len(os.sched_getaffinity(0)),
        "versions": {name: version(name) for name in ("torch", "transformers", "peft", "bitsandbytes", "axolotl")},
        "base": "random Llama, bfloat16, hidden 1536, intermediate 4096, vocabulary 8000",
        "adapter": f"LoRA r={RANK} on all linear layers, trained on NF4 with double quantisation",
        "page_cache": "warm",
        "sizes": json.loads(args.out.read_text())["sizes"] if args.out.is_file() else {},
    }
    for size in args.sizes:
        found = run_size(size, args)
        known = results["sizes"].setdefault(size, {"layers": found["layers"], "contenders": {}})
        for name, runs in found["contenders"].items():
            known["contenders"].setdefault(name, []).extend(runs)
        known.setdefault("fidelity", {}).update(found.get("fidelity", {}))
        loads = [run["load_before"] for runs in known["contenders"].values() for run in runs]
        known["median_load"] = statistics.median(loads)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
