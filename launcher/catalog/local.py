"""Models that are not in the catalog: read from the config.json of a local folder or of the Hugging Face cache."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from launcher.catalog.architecture import CONFIG_KEYS, count_parameters
from launcher.catalog.families import Family, find_family, launched_families, why_not_planned
from launcher.catalog.stored import quantised_otherwise, read_stored
from launcher.catalog.types import Model, Stored
from launcher.errors import Problem, Unreadable
from launcher.files import expand

BUILTIN = "builtin:"

_REQUIRED = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")


def hub_cache() -> Path:
    """The folder that huggingface_hub keeps models in. It need not exist."""
    return _cache("HF_HUB_CACHE", "hub")


def data_cache() -> Path:
    """The folder that the trainers' library `datasets` keeps prepared rows in. It need not exist."""
    return _cache("HF_DATASETS_CACHE", "datasets")


def _cache(variable: str, name: str) -> Path:
    home = os.environ.get("HF_HOME") or expand(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return expand(os.environ.get(variable) or expand(home) / name)


def snapshot_in_cache(hub_name: str) -> Path | None:
    """The newest folder of the local Hugging Face cache that holds ``hub_name``'s config.json, or None."""
    configs = (hub_cache() / f"models--{hub_name.replace('/', '--')}" / "snapshots").glob("*/config.json")
    newest = max(configs, key=lambda path: path.stat().st_mtime, default=None)
    return newest.parent if newest else None


def model_from_folder(folder: Path, *, base_model: str) -> Model:
    """The model whose config.json is in ``folder``.

    Raises Unreadable: no config.json, not JSON, an architecture that is not supported, numbers missing, or weights
    quantised in a way that neither trainer nor merge takes.
    """
    path = folder / "config.json"
    file = str(path)
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        adapter = (folder / "adapter_config.json").exists()
        hint = (
            "this is an adapter; give its base model"
            if adapter
            else "a base model folder holds config.json and weights"
        )
        raise Unreadable(Problem(f"{folder} has no config.json", hint=hint)) from None
    except OSError as error:
        raise Unreadable(Problem(f"cannot be read: {error.strerror or error}", file=file)) from None
    except UnicodeDecodeError:
        raise Unreadable(Problem("not UTF-8", file=file)) from None
    except json.JSONDecodeError as error:
        raise Unreadable(Problem(f"not JSON: {error.msg}", file=file, line=error.lineno, column=error.colno)) from None
    if not isinstance(config, dict):
        raise Unreadable(Problem("not a model's config: the file holds no JSON object", file=file))
    if otherwise := quantised_otherwise(config):
        said = f"the base is stored quantised ({otherwise}): it cannot be trained on, nor merged into"
        hint = "take the base in 16 bit, or one that bitsandbytes stored in 4 bit"
        raise Unreadable(Problem(said, file=file, hint=hint))
    template = _chat_template(folder, config)
    model = model_from_config(config, file=file, base_model=base_model, chat_template=template)
    return replace(model, stored=read_stored(folder, config))


def stored_base(base_model: str) -> Stored | None:
    """How ``base_model``, a folder or a hub name, is stored in 4 bit; None where it is not, or is not here."""
    folder = Path(base_model) if Path(base_model).is_dir() else snapshot_in_cache(base_model)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")) if folder else None
    except (OSError, ValueError, RecursionError):
        return None
    return read_stored(folder, config) if folder and isinstance(config, dict) else None


def _chat_template(folder: Path, config: dict[str, object]) -> str:
    """The tokenizer's own template where it has one; else one that ends a turn with a token the base was trained on."""
    if (folder / "chat_template.jinja").exists():
        return "tokenizer"
    try:
        if "chat_template" in json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8")):
            return "tokenizer"
    except (OSError, ValueError, TypeError):
        pass  # no tokenizer here, or none that can be read: whoever loads it will say so
    family = find_family(str(config.get("model_type")))
    return family.chat_template if family else Family.chat_template


def model_from_config(config: dict[str, Any], *, file: str, base_model: str, chat_template: str) -> Model:
    """The model of the numbers in ``config``, named as in a config.json; ``file`` is where errors say they stand.

    Raises Unreadable: an architecture that is not supported, or numbers missing or wrong.
    """
    model_type = config.get("model_type")
    family = find_family(model_type) if isinstance(model_type, str) else None
    if family is None or not family.launched:
        said = f"model_type {model_type!r} is not supported" if model_type else "there is no model_type"
        raise Unreadable(Problem(said, file=file, hint=f"supported: {', '.join(launched_families())}"))
    if fault := why_not_planned(family, CONFIG_KEYS):
        raise Unreadable(Problem(f"model_type {model_type!r} cannot be planned: {fault}", file=file))
    config = {**family.defaults, **{key: value for key, value in config.items() if value is not None}}
    required = (*_REQUIRED, *((family.experts.count, family.experts.per_token) if family.experts else ()))
    wrong = [key for key in required if not _is_count(config.get(key))]
    optional = ("num_key_value_heads", "head_dim", "max_position_embeddings")
    wrong += [key for key in optional if config.get(key) is not None and not _is_count(config[key])]
    if wrong:
        raise Unreadable(
            [Problem(f"{key} must be a positive whole number, not {config.get(key)!r}", file=file) for key in wrong]
        )

    heads = config["num_attention_heads"]
    name = Path(base_model).name or base_model
    experts = config[family.experts.count] if family.experts else 0
    model = Model(
        name=name,
        title=name,
        base_model=base_model,
        size="",
        model_type=family.model_type,
        parameters=0,
        hidden_size=config["hidden_size"],
        intermediate_size=config["intermediate_size"],
        num_layers=config["num_hidden_layers"],
        num_attention_heads=heads,
        num_key_value_heads=config.get("num_key_value_heads") or heads,
        head_dim=config.get("head_dim") or config["hidden_size"] // heads,
        vocab_size=config["vocab_size"],
        max_position_embeddings=config.get("max_position_embeddings") or 2048,
        tie_word_embeddings=bool(config.get("tie_word_embeddings", family.tied)),
        attention_bias=bool(config.get("attention_bias", False)),
        chat_template=chat_template,
        license="unknown",
        gated=False,
        num_experts=experts,
        num_experts_per_token=config[family.experts.per_token] if family.experts else 0,
        linear_modules=family.linear_modules,
    )
    parameters = count_parameters(model)
    return replace(model, parameters=parameters, size=_size(parameters))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _size(parameters: int) -> str:
    """ "7b" for 6.7e9 weights, "0.7m" for 650 thousand."""
    for unit, scale in (("b", 1e9), ("m", 1e6)):
        if parameters >= 0.95 * scale:
            return f"{parameters / scale:.0f}{unit}"
    return f"{parameters / 1e6:.1f}m"
