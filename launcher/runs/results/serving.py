"""How a finished run is served: vLLM's command lines, from what the manifest says."""

from __future__ import annotations

import json
from collections.abc import Sequence

from launcher.errors import BadInput
from launcher.runs.run import Run, as_written

# The names of vLLM's --dtype.
# A run on a CPU trains in float32; what it ships is 16 bit, and so it is served.
VLLM_DTYPE = {"float16": "half", "bfloat16": "bfloat16", "float32": "half"}
# vLLM sizes its LoRA buffers by rank and accepts these: https://docs.vllm.ai, --max-lora-rank.
VLLM_LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def serving_commands(runs: Sequence[Run], *, adapter_only: bool = False) -> dict[str, list[str]]:
    """``{"merged": argv, "adapter": argv}``, each only where the runs have what it serves and vLLM takes it.

    Raises BadInput when several runs have different bases (one server has one base), and where nothing is left.
    """
    with as_written(runs[0]):
        return _commands(runs, adapter_only)


def _commands(runs: Sequence[Run], adapter_only: bool) -> dict[str, list[str]]:
    bases = sorted({run.plan["base_model"] for run in runs})
    if len(bases) > 1:
        raise BadInput(f"these runs have different base models: {', '.join(bases)}")
    commands = {}
    if len(runs) == 1 and not adapter_only and (runs[0].path / "merged").is_dir():
        commands["merged"] = _merged(runs[0])
    with_adapter = [run for run in runs if (run.path / "adapter").is_dir()]
    if with_adapter:
        try:
            commands["adapter"] = _adapters(with_adapter)
        except BadInput:
            if not commands:  # else merged/ is what can be served
                raise
    if not commands:
        missing = "no adapter/" if adapter_only else "no merged/ and no adapter/"
        raise BadInput(f"nothing to serve: {missing} in " + ", ".join(str(run.path) for run in runs))
    return commands


def _merged(run: Run) -> list[str]:
    dtype = run.record.merge.dtype if run.record.merge else "float16"
    return [
        "vllm",
        "serve",
        str(run.path / "merged"),
        "--dtype",
        VLLM_DTYPE[dtype],
        "--served-model-name",
        run.path.name,
        *_asked(run),
        *_length(run),
    ]


def _adapters(runs: Sequence[Run]) -> list[str]:
    first = runs[0]
    rank = max(run.plan["lora_r"] for run in runs)
    fitting = next((known for known in VLLM_LORA_RANKS if known >= rank), None)
    if fitting is None:
        raise BadInput(f"vLLM serves adapters up to rank {VLLM_LORA_RANKS[-1]}, this one has {rank}: serve merged/")
    argv = ["vllm", "serve", first.plan["base_model"], "--enable-lora", "--max-lora-rank", str(fitting)]
    if len(runs) > 1:
        argv += ["--max-loras", str(len(runs))]
    argv += ["--lora-modules", *(_module(run.path.name, str(run.path / "adapter")) for run in runs)]
    dtype = first.plan["compute_dtype"]
    argv += ["--dtype", VLLM_DTYPE[dtype]]
    if first.plan["method"] == "qlora":
        # The base as it was trained on: vLLM quantises it to NF4 while loading.
        argv += ["--quantization", "bitsandbytes"]
    if (first.path / "chat_template.jinja").is_file():
        argv += ["--chat-template", str(first.path / "chat_template.jinja")]
    return argv + _asked(first) + _length(first)


def _asked(run: Run) -> list[str]:
    """What the chat template is told where a request says nothing, so that prompts begin as the training rows did."""
    settings = run.record.data.template_settings if run.record.data else {}
    return ["--default-chat-template-kwargs", json.dumps(settings)] if settings else []


def _module(name: str, path: str) -> str:
    """One value of --lora-modules. vLLM splits name=path at every "=", and takes what holds a comma for JSON."""
    if any(mark in name + path for mark in "=,"):
        return json.dumps({"name": name, "path": path}, ensure_ascii=False)
    return f"{name}={path}"


def _length(run: Run) -> list[str]:
    return ["--max-model-len", str(max(run.plan["sequence_len"], run.record.max_position_embeddings or 0))]
