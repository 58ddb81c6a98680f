"""Load what a run is scored on: the base as it was trained on, the base with its adapter, the merged checkpoint.

Runs under the trainer's python. Memory is in bytes unless a name says otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from launcher.errors import RunFailed
from launcher.records.quantization import QuantizationRecord

GIB = 2**30
# Share of the free memory that weights may fill; the rest is for the cache of keys and values and for activations.
WEIGHTS_SHARE = 0.85


class DoesNotFit(Exception):
    """The weights fit neither the card nor the host; the message says by how much."""


def choose_device(asked: str) -> str:
    """``cuda`` or ``cpu`` for ``auto``, ``cpu`` or ``cuda``; raises RunFailed for a card that is not there."""
    import torch

    available = torch.cuda.is_available()
    if asked == "cuda" and not available:
        raise RunFailed("torch finds no CUDA device")
    return "cuda" if available and asked != "cpu" else "cpu"


def load_base(base: str, record: QuantizationRecord | None, compute_dtype: str, device: str) -> Any:
    """The frozen base as the adapter saw it in training, in evaluation mode.

    What ``record`` (quantization.json) names is quantised from the dtype it had then; the rest computes in
    ``compute_dtype``. Raises RunFailed when other modules end up quantised than in training.
    """
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    compute = getattr(torch, compute_dtype)
    if not record or not record.quant_type:
        return _load_16bit(base, compute_dtype, device)
    loaded = getattr(torch, record.load_dtype or compute_dtype)
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type=record.quant_type,
        bnb_4bit_use_double_quant=record.double_quant,
        bnb_4bit_compute_dtype=compute,
        bnb_4bit_quant_storage=getattr(torch, record.storage_dtype or "uint8"),
        llm_int8_skip_modules=record.skipped_modules,
    )
    model = AutoModelForCausalLM.from_pretrained(
        base,
        quantization_config=quantization,
        dtype=loaded,
        device_map={"": 0 if device == "cuda" else "cpu"},
        local_files_only=True,
    )
    _check_quantized(model, record)
    _keep_as_trained(model)
    for parameter in model.parameters():
        if parameter.dtype == loaded and type(parameter).__name__ != "Params4bit":
            parameter.data = parameter.data.to(compute)
    return model.eval()


def _check_quantized(model: Any, record: QuantizationRecord) -> None:
    import bitsandbytes

    ours = {name for name, module in model.named_modules() if isinstance(module, bitsandbytes.nn.Linear4bit)}
    theirs = set(record.quantized_modules)
    if ours != theirs:
        example = sorted(ours ^ theirs)[0]
        raise RunFailed(
            f"the base is not quantised as in training: {len(ours)} modules in 4 bit here, {len(theirs)} there; "
            f"{example} is one that differs"
        )


def _keep_as_trained(model: Any) -> None:
    """Let no 4-bit weight be repacked for a CPU's bfloat16 kernel, which rounds what training did not.

    See ``keep_trainable`` in launcher/inject/ql_quantization.py, which does the same while training.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def add_adapter(model: Any, adapter: str) -> Any:
    """``model`` with the adapter in ``adapter``; raises RunFailed when it was made for another base."""
    from peft import PeftModel

    try:
        return PeftModel.from_pretrained(model, adapter, local_files_only=True).eval()
    except (RuntimeError, ValueError, KeyError) as error:
        raise RunFailed(f"{adapter} does not fit the base model: {error}") from error


@contextmanager
def as_base(model: Any) -> Iterator[Any]:
    """The base under a model with an adapter: the same weights with the adapter switched off."""
    with model.disable_adapter():
        yield model


def load_merged(folder: str, device: str) -> Any:
    """The merged checkpoint in the dtype it is stored in (fp32 on a CPU, which computes 16-bit products slowly).

    Raises DoesNotFit.
    """
    return _load_16bit(folder, "auto" if device == "cuda" else "float32", device)


def _load_16bit(folder: str, dtype: str, device: str) -> Any:
    from transformers import AutoModelForCausalLM

    size = checkpoint_bytes(folder) * (2 if dtype == "float32" else 1)
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=dtype, local_files_only=True, **place(size, device, free_memory(device))
    )
    return model.eval()


def checkpoint_bytes(folder: str) -> int:
    """Size of the checkpoint's weights on disk."""
    return sum(path.stat().st_size for path in Path(folder).glob("*.safetensors"))


def place(size: int, device: str, free: Mapping[str, int]) -> dict[str, object]:
    """Where ``size`` bytes of weights go: arguments of ``from_pretrained``.

    On the card where they fit, else what does not fit stays in host memory and is streamed in at every step (never on
    disk: that takes hours). Raises DoesNotFit when card and host together are too small.
    """
    room = {where: int(space * WEIGHTS_SHARE) for where, space in free.items()}
    if device == "cuda" and size <= room["cuda"]:
        return {"device_map": {"": 0}}
    if size > sum(room.values()):
        have = ", ".join(f"{space / GIB:.1f} GiB free on the {where}" for where, space in free.items())
        raise DoesNotFit(f"needs {size / GIB:.1f} GiB for its weights; {have}".replace("on the cpu", "on the host"))
    if device == "cuda":
        return {"device_map": "auto", "max_memory": {0: room["cuda"], "cpu": room["cpu"]}}
    return {"device_map": {"": "cpu"}}


def free_memory(device: str) -> dict[str, int]:
    """Free bytes by place: ``cpu``, and ``cuda`` when that is the device."""
    free = {"cpu": _free_host_memory()}
    if device == "cuda":
        import torch

        free["cuda"] = torch.cuda.mem_get_info()[0]
    return free


def _free_host_memory(root: Path = Path("/")) -> int:
    """What the kernel calls available, or what a container's limit leaves, whichever is less.

    https://docs.kernel.org/filesystems/proc.html (MemAvailable), https://docs.kernel.org/admin-guide/cgroup-v2.html.
    """
    lines = (root / "proc/meminfo").read_text(encoding="ascii").splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    available = int(fields["MemAvailable"].split()[0]) * 1024
    group = root / "sys/fs/cgroup"
    try:
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        reclaimable = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        if limit != "max":
            available = min(available, int(limit) - int(used) + int(reclaimable.get("inactive_file", 0)))
    except (OSError, ValueError):
        pass  # no cgroup v2 here: there is no other limit that can be read
    return max(available, 0)
