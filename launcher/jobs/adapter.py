"""Worker job ``adapter``: the adapter to ship, in 16 bit, with the trained tokenizer and chat template."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from launcher.errors import RunFailed
from launcher.files import share, sync_folder
from launcher.records.jobs import AdapterRequest, Emit, ShippedAdapter

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "tokenizer.model")


def run(request: AdapterRequest, emit: Emit) -> ShippedAdapter:
    """Write the adapter to ship.

    ``source`` is the trainer's output folder, whose fp32 weights stay as they are. ``out`` is complete or absent.
    adapter_config.json keeps only what is set: vLLM's LoRA loader and older versions of peft refuse keys they do not
    know. Raises RunFailed when the trainer left no adapter.
    """
    import torch
    from safetensors.torch import load_file, save_file

    source, out = Path(request.source), Path(request.out)
    weights, config = source / "adapter_model.safetensors", source / "adapter_config.json"
    if not weights.is_file() or not config.is_file():
        raise RunFailed(f"the trainer left no adapter in {source}")
    dtype = getattr(torch, request.dtype)
    tensors = {name: tensor.to(dtype).contiguous() for name, tensor in load_file(weights).items()}
    scratch = out.with_name(f".{out.name}.new")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    save_file(tensors, scratch / "adapter_model.safetensors", metadata={"format": "pt"})
    share(scratch / "adapter_model.safetensors")  # safetensors makes it private, and a server may be another user
    said = json.loads(config.read_text(encoding="utf-8"))
    said |= {"base_model_name_or_path": request.base_model, "inference_mode": True}
    kept = {key: value for key, value in said.items() if value not in (None, {}, [])}
    (scratch / "adapter_config.json").write_text(json.dumps(kept, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    for name in TOKENIZER_FILES:
        if (source / name).is_file():
            shutil.copyfile(source / name, scratch / name)
    if request.chat_template:
        shutil.copyfile(request.chat_template, scratch / "chat_template.jinja")
    for path in scratch.iterdir():
        with path.open("rb") as stream:
            os.fsync(stream.fileno())
    sync_folder(scratch)
    shutil.rmtree(out, ignore_errors=True)
    scratch.rename(out)
    sync_folder(out.parent)
    return ShippedAdapter(tensors=len(tensors), bytes=(out / "adapter_model.safetensors").stat().st_size)
