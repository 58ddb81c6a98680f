"""The small files of a merged model: config, index, tokenizer, chat template, generation config, manifest."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from launcher.catalog.families import find_family
from launcher.errors import BadInput, Problem
from launcher.merge.manifest import INDEX, MANIFEST, read_object
from launcher.records.merged import StoredDtype, WantedDtype

TEMPLATE = "chat_template.jinja"
TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    TEMPLATE,
    "preprocessor_config.json",
    "processor_config.json",
)


def choose_dtype(wanted: WantedDtype, config: Mapping[str, object]) -> tuple[StoredDtype, str]:
    """The dtype of the merged weights and the reason. auto is float16, which keeps more of a small delta."""
    family = find_family(str(config.get("model_type")))
    reason = family.serving if family else ""
    if wanted == "auto":
        return ("bfloat16", reason) if reason else ("float16", "float16 keeps more of a small delta than bfloat16 does")
    return wanted, "asked for" + (f", although {reason}" if reason and wanted == "float16" else "")


@dataclass(frozen=True)
class Tokens:
    """Special tokens that generation needs, by id; None where the tokenizer does not say."""

    eos: int | None
    pad: int | None


def tokenizer_folder(wanted: str | None, adapter: Path, base: Path) -> Path:
    """The trained tokenizer: the one that was named, else the adapter's own, else the base's."""
    candidates = [Path(wanted)] if wanted else [adapter, base]
    for folder in candidates:
        if any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json")):
            return folder
    raise BadInput(Problem("no tokenizer in " + " or ".join(str(folder) for folder in candidates)))


def check_rows(tokenizer: Path, base: Path, base_rows: int, rows: int) -> list[str]:
    """Notes on an embedding of another size than the base's, whose tokens go with it.

    Raises BadInput where a token has no row: the first text with it would stop the server, or read another model's
    memory. A base that has had such tokens all along is noted: nothing was trained of them.
    """
    _, ids = _token_ids(tokenizer)
    notes = [] if rows == base_rows else [f"the embedding has {rows:,} rows, and the base's {base_rows:,}"]
    beyond = sorted((number, token) for token, number in ids.items() if number >= rows)
    if not beyond:
        return notes
    number, token = beyond[-1]
    of_base = {number for number in _token_ids(base)[1].values() if number >= base_rows}
    what = f"token {token!r} has the id {number}, and the embedding {rows:,} rows"
    if rows == base_rows and {number for number, _ in beyond} <= of_base:
        return [*notes, f"{what}: so it is in the base, too"]
    hint = "the tokenizer that it was trained with belongs to it: name it with --tokenizer"
    raise BadInput(Problem(f"{what}; {len(beyond):,} tokens have none", str(tokenizer), hint=hint))


def special_tokens(folder: Path) -> Tokens:
    """Ids of the end-of-sequence and padding tokens of the tokenizer in ``folder``."""
    settings, ids = _token_ids(folder)

    def find(key: str) -> int | None:
        token = settings.get(key)
        text = token.get("content") if isinstance(token, dict) else token
        return ids.get(text) if isinstance(text, str) else None

    return Tokens(find("eos_token"), find("pad_token"))


def _token_ids(folder: Path) -> tuple[Mapping[str, Any], dict[str, int]]:
    """Settings and token ids of the tokenizer in ``folder``; no ids where a binary file alone has them."""
    settings = read_object(folder / "tokenizer_config.json") if (folder / "tokenizer_config.json").is_file() else {}
    ids: dict[str, int] = {
        entry["content"]: int(number) for number, entry in (settings.get("added_tokens_decoder") or {}).items()
    }
    if (folder / "tokenizer.json").is_file():
        full = read_object(folder / "tokenizer.json")
        vocabulary = (full.get("model") or {}).get("vocab")
        if isinstance(vocabulary, dict):
            ids = {**vocabulary, **ids}
        elif isinstance(vocabulary, list):  # Unigram: a token's id is its place
            ids = {**{item[0]: number for number, item in enumerate(vocabulary)}, **ids}
        ids |= {entry["content"]: int(entry["id"]) for entry in full.get("added_tokens") or []}
    return settings, ids


def merged_config(config: dict[str, object], dtype: str, tokens: Tokens) -> dict[str, object]:
    """config.json of the merged model: no quantisation, the stored dtype, the trained tokenizer's special tokens."""
    merged = {key: value for key, value in config.items() if key not in ("quantization_config", "torch_dtype")}
    merged["dtype"] = dtype
    for key, value in merged.items():
        if key.endswith("_config") and isinstance(value, dict):
            nested = {name: item for name, item in value.items() if name != "torch_dtype"}
            if {"dtype", "torch_dtype"} & set(value):
                nested["dtype"] = dtype
            merged[key] = nested
    for key, token in (("eos_token_id", tokens.eos), ("pad_token_id", tokens.pad)):
        if token is not None:
            merged[key] = token
    return merged


def generation_config(base: Path, config: dict[str, object], tokens: Tokens) -> dict[str, object]:
    """The base's generation config, stopping first at the token that training ended turns with.

    The base's other stop tokens are kept: chat models have several, and one too many costs nothing.
    """
    path = base / "generation_config.json"
    merged: dict[str, Any] = read_object(path) if path.is_file() else {"_from_model_config": True}
    eos = merged.get("eos_token_id", config.get("eos_token_id"))
    others = eos if isinstance(eos, list) else [eos] if eos is not None else []
    stops = [tokens.eos] if tokens.eos is not None else []
    stops += [token for token in others if token not in stops]
    if stops:
        merged["eos_token_id"] = stops[0] if len(stops) == 1 else stops
    if tokens.pad is not None:
        merged["pad_token_id"] = tokens.pad
    merged.setdefault("bos_token_id", config.get("bos_token_id"))
    return {key: value for key, value in merged.items() if value is not None}


def write_small_files(
    staging: Path,
    config: dict[str, object],
    generation: dict[str, object],
    tokenizer: Path,
    template: Path | None,
    index: dict[str, object],
    manifest: dict[str, object],
) -> None:
    """Everything beside the shards. The staging folder is synced when it is published."""
    for name in TOKENIZER_FILES:
        if (tokenizer / name).is_file():
            shutil.copyfile(tokenizer / name, staging / name)
    if template is not None:
        shutil.copyfile(template, staging / TEMPLATE)
        path = staging / "tokenizer_config.json"
        if path.is_file():  # one chat template, in one place
            settings = read_object(path)
            settings.pop("chat_template", None)
            write(path, settings)
    write(staging / "config.json", config)
    write(staging / "generation_config.json", generation)
    write(staging / INDEX, index)
    write(staging / MANIFEST, manifest)


def write(path: Path, data: dict[str, object]) -> None:
    """Write ``data`` as JSON, as the configs of a checkpoint are written."""
    path.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
