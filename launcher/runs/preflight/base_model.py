"""The base model before a run: complete and readable where it is a folder, within reach where it is a name."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from launcher.catalog import Model
from launcher.catalog.local import snapshot_in_cache
from launcher.errors import Problem, RunFailed, Unreadable
from launcher.files import expand, read_bounded

INDEX = "model.safetensors.index.json"
LARGEST_HEADER = 100 * 2**20  # bytes; safetensors itself refuses a longer one
PICKLED = (".bin", ".pt", ".pth", ".ckpt")
AGAIN = "download the model again"


def check_base(base_model: str) -> None:
    """A base given as a folder must have its config, its tokenizer, and every byte of every shard of its index.

    Raises RunFailed with all that is missing or cut off. Hub names are looked up by the trainer's python.
    """
    folder = Path(base_model)
    if folder.is_dir():
        problems = base_problems(folder)
        if problems:
            raise RunFailed(problems)


def base_problems(folder: Path) -> list[Problem]:
    """What is wrong with a checkpoint folder; empty when it can be trained on."""
    problems: list[Problem] = []
    config = _read_object(folder / "config.json", problems)
    mapped = config.get("auto_map")
    code = sorted({str(value) for value in mapped.values()}) if isinstance(mapped, dict) else []
    if code and not config.get("model_type"):
        hint = "ql runs no code that comes with a model: trust_remote_code is off"
        problems.append(Problem(f"{folder} needs code of its own ({', '.join(code)})", hint=hint))
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
        problems.append(Problem(f"{folder} has no tokenizer", hint=AGAIN))
    index = folder / INDEX
    shards = ["model.safetensors"]
    if index.is_file():
        weights = _read_object(index, problems, what="an index of safetensors shards").get("weight_map")
        if not isinstance(weights, dict) or not all(isinstance(name, str) for name in weights.values()):
            return problems or [Problem("not an index of safetensors shards", file=str(index))]
        shards = sorted(set(weights.values()))
    for name in shards:
        if len(PurePosixPath(name).parts) != 1 or name in ("", ".", ".."):
            problems.append(Problem(f"the index names {name!r}, which is outside of the folder", file=str(index)))
        elif not (folder / name).is_file():
            pickled = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLED)
            hint = "pickled weights can run code and are not read: save them as safetensors" if pickled else AGAIN
            problems.append(Problem(f"{folder} has no {name}", hint=hint))
        elif reason := shard_fault(folder / name):
            problems.append(Problem(reason, file=str(folder / name), hint=AGAIN))
    return problems


def shard_fault(path: Path) -> str | None:
    """Why a safetensors file cannot be whole: its header says how long it is. None when it is.

    https://huggingface.co/docs/safetensors: 8 bytes of length, a JSON header, and the data that its offsets span.
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            start = stream.read(8)
            if len(start) < 8:
                return f"is {size} bytes long: no safetensors file"
            (length,) = struct.unpack("<Q", start)
            if length > min(LARGEST_HEADER, size - 8):
                return f"is cut off: its header alone has {length} bytes, the file {size}"
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__"]
            expected = 8 + length + max(ends, default=0)
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except (ValueError, KeyError, TypeError, IndexError, AttributeError, RecursionError):
        return "has no safetensors header"
    if size != expected:
        return f"is {size} bytes long and should be {expected}: {'cut off' if size < expected else 'not as written'}"
    return None


def reach_problems(base_model: str, model: Model, environment: Mapping[str, str] | None = None) -> list[Problem]:
    """Why a base named on the hub will not come: said before the run rather than at its first download."""
    found = os.environ if environment is None else environment
    if Path(base_model).is_dir():
        return []
    snapshot = snapshot_in_cache(base_model)
    if snapshot is not None and not base_problems(snapshot):
        return []
    offline = any(
        found.get(name, "").lower() in ("1", "true", "yes", "on") for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    )
    if offline:
        what = "is not in the local cache" if snapshot is None else "is in the local cache, but not whole"
        hint = f"unset HF_HUB_OFFLINE, or `hf download {base_model}` where there is a network, or --model FOLDER"
        return [Problem(f"{base_model} {what}, and the hub is switched off by HF_HUB_OFFLINE", hint=hint)]
    if model.gated and not _has_token(found):
        hint = (
            "ask for access on its page, then `hf auth login` or set HF_TOKEN; or choose an ungated base with --model"
        )
        return [Problem(f"{base_model} is gated, and there is no Hugging Face token here", hint=hint)]
    return []


def _has_token(environment: Mapping[str, str]) -> bool:
    if environment.get("HF_TOKEN") or environment.get("HUGGING_FACE_HUB_TOKEN"):
        return True
    cache = environment.get("XDG_CACHE_HOME") or "~/.cache"
    home = environment.get("HF_HOME") or expand(cache) / "huggingface"
    return Path(environment.get("HF_TOKEN_PATH") or expand(home) / "token").is_file()


def _read_object(path: Path, problems: list[Problem], what: str = "a JSON object") -> dict[str, object]:
    try:
        data = json.loads(read_bounded(path))
    except FileNotFoundError:
        problems.append(Problem(f"{path.parent} has no {path.name}", hint=AGAIN))
        return {}
    except (OSError, ValueError, RecursionError, Unreadable):
        problems.append(Problem(f"not {what}", file=str(path)))
        return {}
    if not isinstance(data, dict):
        problems.append(Problem(f"not {what}", file=str(path)))
        return {}
    return data
