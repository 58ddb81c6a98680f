"""Random models of a given shape and adapters for them, written one tensor at a time; and how a process is measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RANK, ALPHA = 16, 32
QUIET = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "TOKENIZERS_PARALLELISM": "false"}


@dataclass(frozen=True)
class Shape:
    """A Llama's extents."""

    layers: int
    hidden: int = 1536
    intermediate: int = 4096
    vocabulary: int = 8000
    heads: int = 12
    kv_heads: int = 12

    @property
    def projections(self) -> dict[str, tuple[int, int]]:
        kv = self.hidden // self.heads * self.kv_heads
        return {
            "self_attn.q_proj": (self.hidden, self.hidden),
            "self_attn.k_proj": (kv, self.hidden),
            "self_attn.v_proj": (kv, self.hidden),
            "self_attn.o_proj": (self.hidden, self.hidden),
            "mlp.gate_proj": (self.intermediate, self.hidden),
            "mlp.up_proj": (self.intermediate, self.hidden),
            "mlp.down_proj": (self.hidden, self.intermediate),
        }


# The first two have the same largest tensor, so that the growth of peak memory is the model's alone.
SHAPES = {
    "tiny": Shape(2),
    "0.7b": Shape(24),
    "3b": Shape(106),
    "7b": Shape(32, 4096, 11008, 32000, 32, 32),
    "8b": Shape(32, 4096, 14336, 128256, 32, 8),
}


def make_base(folder: Path, shape: Shape) -> None:
    """A random Llama in bfloat16, written one tensor at a time in shards of 2 GB."""
    import torch

    sys.path.insert(0, str(ROOT))
    from benchmarks.random_checkpoint import write_tokenizer
    from launcher.jobs.merge.tensors import shard_header

    folder.mkdir(parents=True)
    tensors: list[tuple[str, tuple[int, ...]]]
    tensors = [(f"{name}.weight", (shape.vocabulary, shape.hidden)) for name in ("model.embed_tokens", "lm_head")]
    for layer in range(shape.layers):
        prefix = f"model.layers.{layer}."
        tensors += [(f"{prefix}{name}.weight", extent) for name, extent in shape.projections.items()]
        norms = ("input_layernorm", "post_attention_layernorm")
        tensors += [(f"{prefix}{name}.weight", (shape.hidden,)) for name in norms]
    tensors.append(("model.norm.weight", (shape.hidden,)))
    per_shard = 160
    groups = [tensors[first : first + per_shard] for first in range(0, len(tensors), per_shard)]
    device = "cuda" if torch.cuda.is_available() else "cpu"
    generator = torch.Generator(device).manual_seed(0)
    weight_map = {}
    for number, group in enumerate(groups, 1):
        name = f"model-{number:05d}-of-{len(groups):05d}.safetensors"
        with (folder / name).open("wb") as stream:
            stream.write(shard_header([(key, torch.bfloat16, extent) for key, extent in group]))
            for key, extent in group:
                values = torch.ones(extent, device=device)
                if len(extent) == 2:
                    values.normal_(0, 0.02, generator=generator)
                stream.write(values.bfloat16().cpu().view(torch.uint8).numpy())
                weight_map[key] = name
    index = {"metadata": {}, "weight_map": weight_map}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.intermediate,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.kv_heads,
        "vocab_size": shape.vocabulary,
        "max_position_embeddings": 2048,
        "tie_word_embeddings": False,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
    }
    (folder / "config.json").write_text(json.dumps(config))
    write_tokenizer(folder)


def make_adapter(folder: Path, base: Path, shape: Shape, device: str = "cpu") -> None:
    """r=16 on all linear layers; each update has about 5 % of its weight's norm. With the record of the training."""
    import torch
    from safetensors.torch import save_file

    folder.mkdir(parents=True)
    generator = torch.Generator().manual_seed(1)
    tensors, modules = {}, []
    for layer in range(shape.layers):
        for name, (out, into) in shape.projections.items():
            module = f"model.layers.{layer}.{name}"
            modules.append(module)
            # |s·BA| ≈ s·b·a·sqrt(out·in·r), and |W| ≈ 0.02·sqrt(out·in)
            spread = 0.05 * 0.02 / (ALPHA / RANK * 0.02 * RANK**0.5)
            tensors[f"base_model.model.{module}.lora_A.weight"] = 0.02 * torch.randn(RANK, into, generator=generator)
            tensors[f"base_model.model.{module}.lora_B.weight"] = spread * torch.randn(out, RANK, generator=generator)
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    targets = sorted({name.rsplit(".", 1)[-1] for name in shape.projections})
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
        "device": device,
    }
    (folder / "quantization.json").write_text(json.dumps(record))


def in_child(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call it in a process of its own: what this one has loaded would count in the peak of those that it starts."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(function, *arguments).result()


def measure(argv: list[str], log: Path, folder: Path) -> dict[str, Any]:
    """Run a process; wall time, peak resident memory, and the time until the disk has it all."""
    os.sync()
    begin = time.monotonic()
    load = os.getloadavg()[0]
    with log.open("wb") as stream:
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
        **stage_seconds(log),
    }


def stage_seconds(log: Path) -> dict[str, Any]:
    """How long each stage of ql's job was at work and the job as a whole, where the log ends with its result."""
    for line in reversed(log.read_text(errors="replace").splitlines()):
        if line.startswith('{"event": "result"'):
            result = json.loads(line)["result"]
            return {"job_seconds": result["seconds"], "stage_seconds": result.get("stage_seconds")}
    return {}


def read_once(folder: Path) -> None:
    """Bring a folder into the page cache, so that the first contender is not the one that pays for it."""
    for path in folder.iterdir():
        with path.open("rb") as stream:
            while stream.read(1 << 24):
                pass
