"""A PEFT LoRA adapter as the merge needs it: per module a low-rank update, plus tensors that replace base tensors.

Names of modules are the base model's, without peft's ``base_model.model.`` and ``.base_layer``.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from launcher.errors import BadInput, Problem, Unreadable
from launcher.jobs.merge.keys import Key, read_key
from launcher.jobs.merge.places import CONFIG, WEIGHTS
from launcher.jobs.merge.tensors import TensorRef, read_header
from launcher.merge.manifest import read_object

# Initialisations that leave the base weights as they are; the others (pissa, olora, corda, loftq, lora_ga) start by
# subtracting from the base, so base + delta is not the model that was trained.
SAFE_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")

# LoraConfig fields that change the update from (or beyond) B @ A in ways that are no fixed weight, or not one we know.
UNSUPPORTED = {
    "alora_invocation_tokens": "aLoRA acts only after its invocation tokens",
    "arrow_config": "Arrow routes each token to other adapters",
    "use_bdlora": "block-diagonal LoRA",
    "use_qalora": "QA-LoRA pools the input",
    "layer_replication": "layer replication changes the base model's layers",
    "fan_in_fan_out": "Conv1D models (GPT-2) store their weights transposed",
    "megatron_config": "Megatron layers",
    "monteclora_config": "MonteCLoRA samples its weights",
    "velora_config": "VeLoRA",
}


@dataclass(frozen=True)
class LowRank:
    """One update ``scale * b @ a`` of a weight ``[out, in]``; with DoRA also the learned row norms ``magnitude``.

    ``a`` is ``[rank, in]`` and ``b`` is ``[out, rank]``, both float32.
    """

    a: torch.Tensor
    b: torch.Tensor
    scale: float
    magnitude: torch.Tensor | None = None

    def delta(self, first: int, last: int, out: torch.Tensor | None = None) -> torch.Tensor:
        """Rows ``first`` to ``last`` of ``scale * (b @ a)``, in float32; into ``out`` when it is given."""
        product: torch.Tensor = torch.mm(self.b[first:last], self.a, out=out)
        return product.mul_(self.scale)


@dataclass(frozen=True)
class Update:
    """Where the low-rank update of one module lies in the adapter's file. ``load`` reads it when its turn comes."""

    module: str
    a: TensorRef
    b: TensorRef
    scale: float
    magnitude: TensorRef | None = None
    bias: TensorRef | None = None
    embedding: bool = False

    @property
    def shape(self) -> tuple[int, int]:
        """Of the weight that it updates: ``(out, in)``, for an embedding ``(vocabulary, width)``."""
        if self.embedding:
            return self.a.shape[1], self.b.shape[0]
        return self.b.shape[0], self.a.shape[1]

    def load(self) -> LowRank:
        a, b = self.a.tensor().float(), self.b.tensor().float()
        if self.embedding:  # peft computes (b @ a).T for embeddings
            a, b = b.T.contiguous(), a.T.contiguous()
        magnitude = self.magnitude.tensor().float().flatten() if self.magnitude else None
        return LowRank(a, b, self.scale, magnitude)


@dataclass(frozen=True)
class ExpertsUpdate:
    """The update of one fused parameter of all experts, as peft stores it for ``target_parameters``.

    ``a`` is ``[experts * rank, in]``, expert by expert; ``b`` is ``[out, rank * experts]``, the expert index fastest
    (peft's ``ParamWrapper.get_delta_weight``).
    """

    module: str
    a: TensorRef
    b: TensorRef
    experts: int
    scale: float

    def load(self, expert: int, rows: slice) -> LowRank:
        """The update of one expert, of the rows ``rows`` of its share of the fused parameter."""
        a = self.a.tensor().float()
        b = self.b.tensor().float()
        a = a.view(self.experts, -1, a.shape[1])[expert]
        b = b.view(b.shape[0], -1, self.experts)[rows, :, expert].contiguous()
        return LowRank(a, b, self.scale)


@dataclass
class Adapter:
    """What training saved, by the base model's names; each update is read when its turn comes."""

    path: Path
    config: dict[str, Any]
    updates: dict[str, Update] = field(default_factory=dict)
    wrapped: dict[str, tuple[TensorRef, TensorRef]] = field(default_factory=dict)  # "….experts[.base_layer]" → a, b
    replacements: dict[str, TensorRef] = field(default_factory=dict)  # tensor name → new values
    tokens: dict[str, tuple[list[int], TensorRef]] = field(default_factory=dict)  # module → row numbers, their values
    carried: dict[str, TensorRef] = field(default_factory=dict)  # the base's own tensors in a raw state dict
    notes: list[str] = field(default_factory=list)

    @property
    def base_name(self) -> str:
        return str(self.config.get("base_model_name_or_path") or "")

    def scale(self, keys: Iterable[str], rank: int) -> float:
        """alpha / rank, or alpha / sqrt(rank) with rsLoRA (https://arxiv.org/abs/2312.03732)."""
        alpha = float(pattern_value(self.config.get("alpha_pattern"), keys, self.config.get("lora_alpha", 8)))
        return alpha / math.sqrt(rank) if self.config.get("use_rslora") else alpha / rank

    def rank(self, keys: Iterable[str]) -> int:
        """r, or what rank_pattern says for the first key that it matches."""
        return int(pattern_value(self.config.get("rank_pattern"), keys, self.config.get("r", 8)))


def pattern_value(patterns: dict[str, object] | None, keys: Iterable[str], default: Any) -> Any:
    """The value of the first pattern that matches the end of a key, by peft's rule; else ``default``."""
    for key in keys:
        for pattern, value in (patterns or {}).items():
            if re.match(rf"(.*\.)?({pattern})$", key):
                return value
    return default


def read_adapter(folder: Path) -> Adapter:
    """Read the configuration and the header of an adapter; its numbers stay in the file.

    Raises Unreadable when it is not there, BadInput with every reason why it cannot be merged.
    """
    config = read_object(folder / CONFIG)
    problems = refusals(config, folder / CONFIG)
    if problems:
        raise BadInput(problems)
    if not (folder / WEIGHTS).is_file():
        hint = "load and save it again with peft, which writes safetensors" if list(folder.glob("*.bin")) else None
        raise Unreadable(Problem(f"no {WEIGHTS} in this folder", str(folder), hint=hint))
    adapter = Adapter(folder, config)
    sort_tensors(adapter, read_header(folder / WEIGHTS))
    return adapter


def refusals(config: dict[str, object], path: Path) -> list[Problem]:
    """Why an adapter with this configuration cannot be merged; empty when it can."""
    kind = config.get("peft_type")
    if kind != "LORA":
        return [Problem(f"a {kind} adapter is no low-rank update of weights: only LoRA adapters merge", str(path))]
    problems = [
        Problem(f"cannot merge an adapter with {name}: {reason}", str(path))
        for name, reason in UNSUPPORTED.items()
        if config.get(name)
    ]
    init = config.get("init_lora_weights")
    if init not in SAFE_INITS:
        message = f"init_lora_weights {init!r} changed the base weights before training, and the adapter lacks that"
        hint = "save it with peft's path_initial_model_for_weight_conversion"
        problems.append(Problem(message, str(path), hint=hint))
    if not isinstance(config.get("r"), int) or not isinstance(config.get("lora_alpha"), int | float):
        problems.append(Problem("r and lora_alpha must be numbers", str(path)))
    return problems


def sort_tensors(adapter: Adapter, refs: dict[str, TensorRef]) -> None:
    """Sort the tensors of an adapter's file into updates, replacements and token rows.

    Raises BadInput naming every tensor that is none of these, or whose shape contradicts its partner or the config.
    """
    file = str(adapter.path / WEIGHTS)
    keys = {name: read_key(name) for name in refs}
    problems = _empty_tensors(refs, file)
    names = sorted({key.adapter for key in keys.values() if key.adapter})
    if len(names) > 1:
        hint = "save the one that is meant alone: save_pretrained(selected_adapters=[…])"
        problems.append(Problem(f"the file holds several adapters: {', '.join(names)}", file, hint=hint))
    if problems:
        raise BadInput(problems)
    parts: dict[str, dict[str, TensorRef]] = {}
    for name, key in keys.items():
        ref = refs[name]
        if key.kind == "low_rank":
            parts.setdefault(key.module, {})[key.part] = ref
        elif key.kind == "tokens":
            adapter.tokens[key.module] = token_rows(adapter.config, key.module), ref
        elif key.kind == "saved":
            adapter.replacements[f"{key.module}.{key.part}"] = ref
        elif key.kind == "unknown":
            problems.append(Problem(f"tensor {name!r} is not a part of a LoRA adapter that ql knows", file))
    _take_whole(adapter, keys, refs, parts, raw=bool(names))
    for module, found in parts.items():
        problems += add_update(adapter, module, found, file)
    if not parts and not adapter.replacements and not adapter.tokens:
        problems.append(Problem("the adapter is empty", file))
    if problems:
        raise BadInput(problems)
    if adapter.config.get("bias") == "lora_only" and not any(name.endswith(".bias") for name in adapter.replacements):
        adapter.notes.append(
            "adapter_config.json says bias: lora_only, and the file holds no bias (peft 0.20 does not save them): "
            "the base model's biases are kept"
        )


def _empty_tensors(refs: dict[str, TensorRef], file: str) -> list[Problem]:
    empty = [name for name, ref in refs.items() if ref.elements == 0]
    if not empty:
        return []
    hint = "saved under ZeRO-3 without being gathered: stage3_gather_16bit_weights_on_model_save, or zero_to_fp32.py"
    return [Problem(f"{len(empty)} of its {len(refs)} tensors are empty, the first is {empty[0]!r}", file, hint=hint)]


def _take_whole(
    adapter: Adapter,
    keys: dict[str, Key],
    refs: dict[str, TensorRef],
    parts: dict[str, dict[str, TensorRef]],
    *,
    raw: bool,
) -> None:
    """The tensors that are no update: what peft saves is trained; a raw state dict has the base's own beside it."""
    biases = adapter.config.get("bias") or "none"
    for name, key in keys.items():
        if key.kind != "base":
            continue
        module = key.module.removesuffix(".base_layer")
        target = f"{module}.{key.part}"
        trained = key.part == "bias" and (biases == "all" or (biases == "lora_only" and module in parts))
        if not raw or trained:
            adapter.replacements[target] = refs[name]
        else:
            adapter.carried[target] = refs[name]
    if adapter.carried:
        adapter.notes.append(
            f"the adapter's file is a raw state dict: {len(adapter.carried)} tensors of the base in it are left out"
        )


def add_update(adapter: Adapter, module: str, parts: dict[str, TensorRef], file: str) -> list[Problem]:
    """Put together the tensors of one module; returns what is wrong with them."""
    embedding = "lora_embedding_A" in parts
    a = parts.get("lora_embedding_A" if embedding else "lora_A.weight")
    b = parts.get("lora_embedding_B" if embedding else "lora_B.weight")
    if a is None or b is None:
        return [Problem(f"module {module!r} has only one half of a LoRA pair", file)]
    if len(a.shape) != 2 or len(b.shape) != 2 or a.shape[0] != b.shape[1]:
        return [Problem(f"module {module!r}: shapes {list(a.shape)} and {list(b.shape)} are no LoRA pair", file)]
    if re.search(r"\.experts(\.base_layer)*$", module):
        adapter.wrapped[module] = a, b
        return []
    module = module.replace(".base_layer", "")
    keys = (module, f"{module}.weight")
    rank = a.shape[0]
    if rank != adapter.rank(keys):
        message = f"module {module!r} has rank {rank} where {CONFIG} says {adapter.rank(keys)}"
        return [Problem(message, file, hint="the two files are not of one adapter")]
    magnitude = parts.get("lora_magnitude_vector")
    if bool(adapter.config.get("use_dora")) != (magnitude is not None):
        return [Problem(f"module {module!r}: {CONFIG} and the file disagree about DoRA", file)]
    if embedding and magnitude is not None:
        return [Problem(f"module {module!r}: DoRA on an embedding cannot be merged", file)]
    scale = adapter.scale(keys, rank)
    adapter.updates[module] = Update(module, a, b, scale, magnitude, parts.get("lora_B.bias"), embedding)
    return []


def token_rows(config: dict[str, Any], module: str) -> list[int]:
    """Which rows of ``module`` the trainable tokens are: a list for the embeddings, or a table by module name."""
    indices = config.get("trainable_token_indices") or []
    if isinstance(indices, dict):
        indices = pattern_value(indices, [module], [])
    return list(indices)
