"""What a rule is: one small function over a config. Its docstring is its documentation: what is wrong, then why."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

# Axolotl's old attention flags and what each stands for, the one that wins first.
ATTENTION_FLAGS = {
    "xformers_attention": "xformers",
    "sage_attention": "sage",
    "flex_attention": "flex_attention",
    "flash_attention": "flash_attention_2",
    "sdp_attention": "sdpa",
    "eager_attention": "eager",
}
VARLEN_ATTENTION = frozenset(
    {
        "flash_attention_2",
        "flash_attention_3",
        "flash_attention_4",
        "flash_attention_torch",
        "flex_attention",
        "xformers",
        "sage",
        "kernels-community/flash-attn2",
        "kernels-community/flash-attn3",
        "kernels-community/sage-attention",
    }
)

Severity = Literal["error", "warning", "note"]
Kind = Literal["axolotl", "unsloth", "preset", "gpu", "model", "recipe", "golden", "run", "job"]
KeyPath = tuple[Any, ...]
Version = tuple[int, int]


class HiddenKey(Exception):
    """A rule asked for a key whose value has the wrong type; the schema's finding says so already."""


@dataclass(frozen=True)
class Hit:
    """What a rule found. ``on`` tells whether the key or the value at ``path`` is marked.

    ``repair`` is a safe one: new text for the key, for the value, or for the pair of both.
    """

    path: KeyPath
    message: str
    hint: str = ""
    on: Literal["key", "value"] = "value"
    repair: tuple[Literal["key", "value", "pair"], str] | None = None


@dataclass(frozen=True)
class Architecture:
    """What the validator knows of a base model; a fact that it does not know is None."""

    model_type: str | None = None
    max_position_embeddings: int | None = None
    linear_modules: tuple[str, ...] = ()
    fp16_overflow: str = ""  # why the family overflows fp16; empty when it does not
    stored_in: str = ""  # of a base that is on disk in 4 bit, in words; empty for any other
    stored_dtype: str | None = None  # what such a base dequantises to
    source: str = ""


@dataclass(frozen=True)
class Card:
    """The card that a config is checked for: the facts that rules read."""

    name: str
    compute_capability: float
    usable_gib: float
    is_cpu: bool = False

    @property
    def has_bf16(self) -> bool:
        """Compute capability 8.0 and newer; a CPU computes in bf16 too."""
        return self.is_cpu or self.compute_capability >= 8.0


@dataclass
class Config:
    """A config as its trainer reads it: converted values, and where a rule may ask for facts beside it."""

    data: dict[str, Any]
    kind: Kind = "axolotl"
    version: Version = (0, 19)
    schema: dict[str, Any] = field(default_factory=dict)
    hidden: frozenset[Any] = frozenset()
    architecture: Architecture = field(default_factory=Architecture)
    card: Card | None = None
    folder: Path | None = None  # where relative paths of data start; None: data is not looked at
    golden: Path | None = None  # a golden set to compare with
    place: Path | None = None  # the whole path of the folder that the file lies in; None: it is not on the disk

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a top-level key; None when it is absent. Raises HiddenKey when its type is wrong."""
        if key in self.hidden:
            raise HiddenKey(key)
        value = self.data.get(key)
        return default if value is None else value

    def has(self, key: str) -> bool:
        """Whether the key is in the file with a value."""
        return self.get(key) is not None

    def mapping(self, key: str) -> Mapping[str, Any]:
        """The mapping at ``key``; an empty one when it is absent or something else."""
        value = self.get(key)
        return value if isinstance(value, dict) else {}

    def datasets(self, key: str = "datasets") -> Iterator[tuple[int, dict[str, Any]]]:
        """The data sets that are mappings, with their index."""
        value = self.get(key)
        for index, item in enumerate(value if isinstance(value, list) else ()):
            if isinstance(item, dict):
                yield index, item

    def any_of(self, *keys: str) -> list[str]:
        """Those of ``keys`` that have a true value."""
        return [key for key in keys if self.get(key)]

    @property
    def adapter(self) -> str | None:
        """Name of the adapter, or None for full fine-tuning."""
        value: str | None = self.get("adapter") or None
        return value

    @property
    def is_lora(self) -> bool:
        return self.adapter in ("lora", "qlora")

    @property
    def has_eval_set(self) -> bool:
        """Whether Axolotl holds out rows or reads an evaluation set (``val_set_size`` defaults to 0)."""
        return bool(self.get("val_set_size") or self.get("test_datasets"))

    @property
    def base_model(self) -> str:
        """The base model's name, or an empty string."""
        return str(self.get("base_model", ""))

    @property
    def fp16_overflow(self) -> str:
        """Why the base model overflows fp16; empty when it does not, or when its family is not known."""
        return self.architecture.fp16_overflow

    @property
    def attention(self) -> str | None:
        """The attention that Axolotl ends up with: ``attn_implementation``, or what an old flag stands for."""
        chosen = self.get("attn_implementation")
        if not chosen and self.get("gemma4_hybrid_attn_impl"):
            return "flash_attention_2"
        return chosen or next((name for flag, name in ATTENTION_FLAGS.items() if self.data.get(flag)), None)

    @property
    def attention_packs(self) -> bool:
        """Whether that attention keeps packed rows apart by their positions (ATTN_IMPLS_SUPPORTING_PACKING)."""
        name = self.attention or ""
        if self.version >= (0, 19):  # a revision or a kernel may follow the name
            name = name.split(":", 1)[0].split("@", 1)[0].strip()
        return name in VARLEN_ATTENTION

    def at(self, path: str | KeyPath, message: str, hint: str = "") -> Hit:
        """A finding at the value of ``path``."""
        return Hit((path,) if isinstance(path, str) else path, message, hint)

    def key(self, path: str | KeyPath, message: str, hint: str = "", *, rename: str | None = None) -> Hit:
        """A finding at the key of ``path``; ``rename`` is the safe repair."""
        return Hit(
            (path,) if isinstance(path, str) else path,
            message,
            hint,
            on="key",
            repair=("key", rename) if rename else None,
        )


Check = Callable[[Config], Iterator[Hit]]


@dataclass(frozen=True)
class Rule:
    """A rule with its code and severity. ``axolotl`` names the validators of Axolotl that it stands for.

    ``since`` and ``until`` bound the Axolotl versions that it holds for, both included.
    """

    code: str
    severity: Severity
    check: Check
    kinds: tuple[Kind, ...] = ("axolotl",)
    axolotl: tuple[str, ...] = ()
    since: Version = (0, 0)
    until: Version = (99, 0)

    @property
    def title(self) -> str:
        """The docstring's first line: what is wrong."""
        return inspect.getdoc(self.check).split("\n", 1)[0]  # type: ignore[union-attr] # a test holds that it has one

    @property
    def why(self) -> str:
        """The docstring's second paragraph, on one line: why it matters."""
        paragraphs = inspect.getdoc(self.check).split("\n\n")  # type: ignore[union-attr]
        return " ".join(paragraphs[1].split()) if len(paragraphs) > 1 else ""

    @property
    def documentation(self) -> str:
        return inspect.getdoc(self.check) or ""

    def applies_to(self, config: Config) -> bool:
        return config.kind in self.kinds and (config.kind != "axolotl" or self.since <= config.version <= self.until)

    def run(self, config: Config) -> Iterator[Hit]:
        """The hits of the rule; none when it asks for a value whose type is wrong."""
        try:
            yield from self.check(config)
        except HiddenKey:
            return


RULES: dict[str, Rule] = {}


def rule(code: str, severity: Severity, **options: Any) -> Callable[[Check], Check]:
    """Register a rule under a code that no other rule has."""
    if code in RULES:
        raise ValueError(f"{code} is taken by {RULES[code].check.__name__}")
    validators = options.pop("axolotl", ())
    names = (validators,) if isinstance(validators, str) else tuple(validators)

    def register(check: Check) -> Check:
        RULES[code] = Rule(code, severity, check, axolotl=names, **options)
        return check

    return register
