"""A base model's folder: where it is on this machine, and what its tokenizer files say."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from launcher.catalog.local import snapshot_in_cache
from launcher.errors import Unreadable
from launcher.files import expand

_SLOTS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")


def find_base(name: str) -> Path | None:
    """The folder of a base model: ``name`` itself when it is one, else its snapshot in the local Hugging Face cache.

    None when the model is not on this machine; nothing is downloaded.
    """
    folder = expand(name)
    return folder if folder.is_dir() else snapshot_in_cache(name)


def read_json_object(path: Path) -> dict[str, Any]:
    """A JSON object from a file; empty when there is no such file. Raises Unreadable when it is anything else."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise Unreadable(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise Unreadable(f"{path}: is not a JSON object")
    return data


def read_tokenizer_config(base: Path) -> dict[str, Any]:
    """tokenizer_config.json of a model folder; empty where there is none. Raises Unreadable for a broken one."""
    return read_json_object(base / "tokenizer_config.json")


def _named(value: Any) -> str | None:
    """A token as the files write it: a string, or an object with its ``content``."""
    if isinstance(value, Mapping):
        value = value.get("content")
    return value if isinstance(value, str) and value else None


def base_tokens(base: Path) -> dict[str, str]:
    """The base's special tokens by transformers' name; tokenizer_config.json overrides special_tokens_map.json."""
    config = read_tokenizer_config(base)
    mapped = read_json_object(base / "special_tokens_map.json")
    found = {slot: _named(config.get(slot)) or _named(mapped.get(slot)) for slot in _SLOTS}
    return {slot: token for slot, token in found.items() if token}


def added_tokens(base: Path) -> set[str]:
    """The strings that the tokenizer cuts out of a text before anything else: control tokens, mostly."""
    listed = read_json_object(base / "tokenizer.json").get("added_tokens") or []
    decoder = read_tokenizer_config(base).get("added_tokens_decoder") or {}
    named = (_named(item) for item in [*listed, *decoder.values()])
    return {token for token in named if token}


def vocabulary(base: Path) -> set[str]:
    """Every string that is one token of tokenizer.json, added ones included; empty without that file."""
    model = read_json_object(base / "tokenizer.json").get("model") or {}
    vocab = model.get("vocab") or {}
    words = set(vocab) if isinstance(vocab, dict) else {item[0] for item in vocab if item}
    return words | added_tokens(base)
