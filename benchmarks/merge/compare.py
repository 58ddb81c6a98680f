"""Merge the same adapter into the same base with ql and with its peers, side by side, and write down what it cost.

    python benchmarks/merge/compare.py --work /big/disk --out benchmarks/merge/results.json [--sizes 0.7b 3b] [--runs 2]

Contenders: ql's merge job (as `ql merge` and `ql launch` start it), `axolotl merge-lora` (its default and `legacy`),
peft (load in NF4, dequantize, merge_and_unload, save), and `cp` of the merged folder as the physical floor. Each is a
process of its own on a base that has been read once before (page cache). `seconds` is until the process ends,
`seconds_synced` until its output is on the disk as well; ql syncs by itself. `peak_mb` is VmHWM of the process.
With --fidelity each output is also run in float32 and compared with the NF4 base + adapter, unmerged.
Run it under the python that has Axolotl, peft and bitsandbytes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
LAYERS = {"tiny": 2, "0.7b": 24, "3b": 106}
HIDDEN, INTERMEDIATE, VOCABULARY, HEADS = 1536, 4096, 8000, 12
PROJECTIONS = {
    **dict.fromkeys(("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj"), (HIDDEN, HIDDEN)),
    **dict.fromkeys(("mlp.gate_proj", "mlp.up_proj"), (INTERMEDIATE, HIDDEN)),
    "mlp.down_proj": (HIDDEN, INTERMEDIATE),
}
RANK, ALPHA = 16, 32
QUIET = {
    "HF_HUB_OFFLINE": "1",
    "AXOLOTL_DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
}

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


def make_base(folder: Path, layers: int) -> None:
    """A random Llama in bfloat16, written one tensor at a time in shards of 2 GB."""
    import torch

    sys.path.insert(0, str(ROOT))
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from random_checkpoint import write_tokenizer

    from launcher.merge.tensors import shard_header

    folder.mkdir(parents=True)
    tensors = [("model.embed_tokens.weight", (VOCABULARY, HIDDEN)), ("lm_head.weight", (VOCABULARY, HIDDEN))]
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        tensors += [(f"{prefix}{name}.weight", shape) for name, shape in PROJECTIONS.items()]
        tensors += [(f"{prefix}{name}.weight", (HIDDEN,)) for name in ("input_layernorm", "post_attention_layernorm")]
    tensors.append(("model.norm.weight", (HIDDEN,)))
    per_shard = 160
    groups = [tensors[first : first + per_shard] for first in range(0, len(tensors), per_shard)]
    generator = torch.Generator().manual_seed(0)
    weight_map = {}
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        with (folder / name).open("wb") as stream:
            stream.write(shard_header([(key, torch.bfloat16, shape) for key, shape in group]))
            for key, shape in group:
                values = torch.randn(shape, generator=generator) * 0.02 if len(shape) == 2 else torch.ones(shape)
                stream.write(values.bfloat16().view(torch.uint8).numpy().tobytes())
                weight_map[key] = name
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_size": HIDDEN,
        "intermediate_size": INTERMEDIATE,
        "num_hidden_layers": layers,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)


def make_adapter(folder: Path, base: Path, layers: int) -> None:
    """r=16 on all linear layers; each update has about 5 % of its weight's norm. With the record of the training."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    tensors, modules = {}, []
    for layer in range(layers):
        for name, (out, into) in PROJECTIONS.items():
            module = f"model.layers.{layer}.{name}"
            modules.append(module)
            # |s·BA| ≈ s·b·a·sqrt(out·in·r), and |W| ≈ 0.02·sqrt(out·in)
            spread = 0.05 * 0.02 / (ALPHA / RANK * 0.02 * RANK**0.5)
            tensors[f"base_model.model.{module}.lora_A.weight"] = 0.02 * torch.randn(RANK, into, generator=generator)
            tensors[f"base_model.model.{module}.lora_B.weight"] = spread * torch.randn(out, RANK, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = sorted({name.rsplit(".", 1)[-1] for name in PROJECTIONS})
    adapter = {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": str(base),
        "r": RANK,
        "lora_alpha": ALPHA,
        "lora_dropout": 0.0,
        "target_modules": targets,
    }
    (folder / "adapter_config.json").write_text(json.dumps(adapter))
    record = {
        "version": 1,
        "backend": "axolotl",
        "method": "qlora",
        "quant_type": "nf4",
        "double_quant": True,
        "block_size": 64,
        "compute_dtype": "float16",
        "load_dtype": "float16",
        "quantized_modules": modules,
        "skipped_modules": ["lm_head"],
        "device": "cpu",
    }
    (folder / "quantization.json").write_text(json.dumps(record))


def make_inputs(base: Path, adapter: Path, layers: int) -> None:
    make_base(base, layers)
    make_adapter(adapter, base, layers)


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a process of its own: what this one has loaded would count in the peak of those that it starts."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


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
        "ql": [sys.executable, str(ROOT / "launcher" / "worker.py"), "merge", str(scratch / "request.json")],
        "axolotl default": [*cli, str(scratch / "default.yaml")],
        "axolotl legacy": [*cli, str(scratch / "legacy.yaml")],
        "peft dequantize": [sys.executable, str(scratch / "peft_merge.py"), str(base), str(adapter), str(out)],
        "cp": ["cp", "-r", str(merged), str(out)],
    }


def measure(argv: list[str], log: Path, folder: Path) -> dict[str, Any]:
    """Run a process; wall time, peak resident memory, and the time until the disk has it all."""
    os.sync()
    begin = time.monotonic()
    load = os.getloadavg()[0]
    with log.open("ab") as stream:
        process = subprocess.Popen(argv, stdout=stream, stderr=stream, env={**os.environ, **QUIET}, cwd=log.parent)
        _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    os.sync()
    synced = time.monotonic() - begin
    size = sum(path.stat().st_size for path in folder.rglob("*.safetensors")) if folder.exists() else 0
    return {
        "exit_code": os.waitstatus_to_exitcode(status),
        "seconds": round(seconds, 2),
        "seconds_synced": round(synced, 2),
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 2),
        "peak_mb": round(usage.ru_maxrss / 1024),
        "bytes": size,
        "load_before": round(load, 2),
    }


def read_once(folder: Path) -> None:
    """Bring a folder into the page cache, so that the first contender is not the one that pays for it."""
    for path in folder.iterdir():
        with path.open("rb") as stream:
            while stream.read(1 << 24):
                pass


def fidelity(base: Path, adapter: Path, outputs: dict[str, Path]) -> dict[str, dict[str, float]]:
    """Logits on 1,024 random tokens in float32: every output against NF4 base + adapter, unmerged."""
    import bitsandbytes.functional as bnb
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    ids = torch.randint(0, VOCABULARY, (4, 256), generator=torch.Generator().manual_seed(3))

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
        in_child(make_inputs, base, adapter, LAYERS[size])
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
            elif args.fidelity and round_number == 0 and contender != "cp" and found["exit_code"] == 0:
                kept = work / f"kept-{contender.replace(' ', '-')}"
                shutil.rmtree(kept, ignore_errors=True)
                folder.rename(kept)
                outputs[contender] = kept
            shutil.rmtree(out, ignore_errors=True)
    data: dict[str, Any] = {"layers": LAYERS[size], "contenders": results}
    if args.fidelity:
        data["fidelity"] = in_child(fidelity, base, adapter, outputs)
    for kept in work.glob("kept-*"):
        shutil.rmtree(kept)
    return data


def best(runs: list[dict[str, Any]], key: str) -> float:
    return min(run[key] for run in runs if run["exit_code"] == 0)


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
    parser.add_argument("--sizes", nargs="+", choices=LAYERS, default=["0.7b", "3b"])
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--fidelity", action="store_true")
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
        "base": f"random Llama, bfloat16, hidden {HIDDEN}, intermediate {INTERMEDIATE}, vocabulary {VOCABULARY}",
        "adapter": f"LoRA r={RANK} on all linear layers, trained on NF4 with double quantisation",
        "page_cache": "warm",
        "sizes": {},
    }
    for size in args.sizes:
        results["sizes"][size] = run_size(size, args)
        loads = [run["load_before"] for runs in results["sizes"][size]["contenders"].values() for run in runs]
        results["sizes"][size]["median_load"] = statistics.median(loads)
        args.out.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
