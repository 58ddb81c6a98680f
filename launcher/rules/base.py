"""What a rule is: one small function over a config. Its docstring is its documentation: what is wrong, then why."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from launcher.catalog.capability import has_bfloat16

if TYPE_CHECKING:
    from launcher.data.survey import Survey
    from launcher.sizing import Correction

Severity = Literal["error", "warning", "note"]
Kind = str  # the name of a trainer, or one of `OWN_KINDS`
OWN_KINDS: tuple[Kind, ...] = ("preset", "gpu", "model", "family", "sizes", "recipe", "golden", "run", "job")
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
    folder: Path | None = None  # where it lies, if it does


@dataclass(frozen=True)
class Card:
    """The card that a config is checked for: the facts that rules read."""

    name: str
    compute_capability: float
    usable_gib: float
    is_cpu: bool = False

    @property
    def has_bf16(self) -> bool:
        """Whether it computes in bf16."""
        return has_bfloat16(self.compute_capability, is_cpu=self.is_cpu)


@dataclass
class Config:
    """A config as its trainer reads it: converted values, and where a rule may ask for facts beside it."""

    data: dict[str, object]
    kind: Kind = ""
    version: Version = (0, 0)
    schema: dict[str, Any] = field(default_factory=dict)
    hidden: frozenset[Any] = frozenset()
    architecture: Architecture = field(default_factory=Architecture)
    card: Card | None = None
    folder: Path | None = None  # where relative paths of data start; None: data is not looked at
    golden: Path | None = None  # a golden set to compare with
    place: Path | None = None  # the whole path of the folder that the file lies in; None: it is not on the disk
    correction: Correction | None = None  # what a calibration says of this card and trainer
    # What the config will find by these names though nothing lies there yet: rows, or None for another file.
    supplied: Mapping[str, Survey | None] = field(default_factory=dict)
    surveys: dict[Path, Survey] = field(default_factory=dict)  # data files that were read, by their whole path

    def get(self, key: str, default: Any = None) -> Any:
        """The value of a top-level key; None when it is absent. Raises HiddenKey when its type is wrong."""
        if key in self.hidden:
            raise HiddenKey(key)
        value = self.data.get(key)
        return default if value is None else value

    def has(self, key: str) -> bool:
        """Whether the key is in the file with a value."""
        return self.get(key) is not None

    def mapping(self, key: str) -> Mapping[str, object]:
        """The mapping at ``key``; an empty one when it is absent or something else."""
        value = self.get(key)
        return value if isinstance(value, dict) else {}

    def any_of(self, *keys: str) -> list[str]:
        """Those of ``keys`` that have a true value."""
        return [key for key in keys if self.get(key)]

    @property
    def trains_adapter(self) -> bool:
        """Whether a LoRA adapter is trained, and not the model itself."""
        return True

    @property
    def is_estimated(self) -> bool:
        """Whether it is a job that sizing knows."""
        return self.trains_adapter

    @property
    def base_model(self) -> str:
        """The base model's name, or an empty string."""
        return str(self.get("base_model", ""))

    @property
    def fp16_overflow(self) -> str:
        """Why the base model overflows fp16; empty when it does not, or when its family is not known."""
        return self.architecture.fp16_overflow

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


C = TypeVar("C", bound=Config)
Check = Callable[[Any], Iterator[Hit]]  # takes a Config of its kind
ALWAYS: Version = (0, 0)  # the first and the last version of a rule that holds for every release
FOREVER: Version = (9999, 0)
TRAINING = "training"  # the kind of a rule for the config of any trainer


@dataclass(frozen=True)
class Rule:
    """A rule with its code and severity. ``upstream`` names the trainer's own validators that it stands for.

    ``kinds`` are those of the files that it is for. ``since`` and ``until`` bound the releases of the trainer that it
    holds for, both included.
    """

    code: str
    severity: Severity
    check: Check
    kinds: tuple[Kind, ...]
    upstream: tuple[str, ...] = ()
    since: Version = ALWAYS
    until: Version = FOREVER

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
        if config.kind in OWN_KINDS:
            return config.kind in self.kinds
        return (config.kind in self.kinds or TRAINING in self.kinds) and self.since <= config.version <= self.until

    def run(self, config: Config) -> Iterator[Hit]:
        """The hits of the rule; none when it asks for a value whose type is wrong."""
        try:
            yield from self.check(config)
        except HiddenKey:
            return


RULES: dict[str, Rule] = {}  # those that were loaded: `launcher.configs.rules` loads what a kind of file needs


def rule(
    code: str,
    severity: Severity,
    *,
    kinds: tuple[Kind, ...],
    upstream: str | tuple[str, ...] = (),
    since: Version = ALWAYS,
    until: Version = FOREVER,
) -> Callable[[Callable[[C], Iterator[Hit]]], Callable[[C], Iterator[Hit]]]:
    """Register a rule under a code that no other rule has."""
    if code in RULES:
        raise ValueError(f"{code} is taken by {RULES[code].check.__name__}")
    names = (upstream,) if isinstance(upstream, str) else upstream

    def register(check: Callable[[C], Iterator[Hit]]) -> Callable[[C], Iterator[Hit]]:
        RULES[code] = Rule(code, severity, check, kinds, names, since, until)
        return check

    return register
