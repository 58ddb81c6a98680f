"""Families of base models, a file each in presets/families/: their layers, and what is known of training them.

A family is known by transformers' ``model_type``, which is the file's name. A file is read when it is asked for, once.
Families of a person's own lie in the folder that ``QL_FAMILIES`` names, and win over ours.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from launcher.catalog.texts import read
from launcher.errors import Problem, Unreadable
from launcher.files import expand
from launcher.resources import resource

OWN = "QL_FAMILIES"
# A length in numbers of the model's config.json: a name, a number, the product of a list, or the sum of several.
Length = str | int | list[Any] | dict[str, list[Any]]
Config = Mapping[str, object]


@dataclass(frozen=True)
class FamilyLinear:
    """One `torch.nn.Linear` of a layer. ``name`` is its path in the layer; ``bias``: the key that says it has one."""

    name: str
    in_features: Length
    out_features: Length
    bias: str | bool = False

    def has_bias(self, values: Config) -> bool:
        return bool(values.get(self.bias)) if isinstance(self.bias, str) else self.bias

    def weights(self, values: Config) -> int:
        """Of the layer, its bias included."""
        out = length(self.out_features, values)
        return out * length(self.in_features, values) + (out if self.has_bias(values) else 0)


@dataclass(frozen=True)
class Experts:
    """The experts of a layer: gate, up and down of each, and a router that gives each a score."""

    count: str
    per_token: str
    in_features: Length
    width: Length
    bias: bool = False

    def matrices(self, values: Config) -> int:
        """Weights of gate, up and down of all experts of one layer."""
        return 3 * length([self.count, self.in_features, self.width], values)

    def weights(self, values: Config) -> int:
        """Of all experts of one layer, and of the router."""
        count, reads, width = (length(each, values) for each in (self.count, self.in_features, self.width))
        biases = 2 * width + reads + 1 if self.bias else 0
        return self.matrices(values) + count * (reads + biases)


@dataclass(frozen=True)
class LayerKind:
    """One kind of decoder layer. ``norms`` and ``qk_norm`` are the lengths of its norms' vectors of weights.

    ``vectors`` are the sizes of what is neither a linear layer nor a norm: sinks, convolutions, decays. ``when`` says
    which layers are of this kind: those whose entry in the list under a key of the config has a value, or those
    ``before`` or ``from`` the index that a key says; empty: all.
    """

    kind: str
    linears: tuple[FamilyLinear, ...]
    norms: tuple[Length, ...]
    qk_norm: tuple[Length, ...] = ()
    vectors: tuple[Length, ...] = ()
    experts: Experts | None = None
    when: Mapping[str, str] = field(default_factory=dict)

    def has(self, index: int, values: Config) -> bool:
        """Whether the layer of that index is of this kind."""
        for key, value in self.when.items():
            if key in ("before", "from"):
                inside = index < length(value, values) if key == "before" else index >= length(value, values)
            else:
                listed = values[key]
                inside = isinstance(listed, Sequence) and listed[index] == value
            if not inside:
                return False
        return True

    def weights(self, values: Config) -> int:
        """Of one layer."""
        linears = sum(linear.weights(values) for linear in self.linears)
        others = sum(length(each, values) for each in (*self.norms, *self.qk_norm, *self.vectors))
        return linears + others + (self.experts.weights(values) if self.experts else 0)


@dataclass(frozen=True)
class Family:
    """What presets/families/<model_type>.yaml says. ``layers`` is empty where a family is not described yet.

    ``outside`` are the sizes of what is in no layer, beside embedding, head and last norm. ``text`` is the family of a
    multi-modal model's text part, ``towers`` the modules that text training leaves alone.

    ``named`` finds it in a hub name, ``plain_named`` where the name also says which layers there are. ``defaults`` are
    values that a config.json may leave out. ``fp16`` is why it overflows float16, ``serving`` why it is not served in
    float16; ``padded`` are the trainers that pad its rows, each with its source.
    """

    model_type: str
    title: str
    launched: bool
    default: bool = False
    named: str = ""
    plain_named: str = ""
    chat_template: str = "inst"
    tied: bool = False
    defaults: Mapping[str, object] = field(default_factory=dict)
    layers: tuple[LayerKind, ...] = ()
    outside: tuple[Length, ...] = ()
    text: str = ""
    towers: tuple[str, ...] = ()
    fp16: str = ""
    serving: str = ""
    padded: Mapping[str, str] = field(default_factory=dict)

    @property
    def linear_modules(self) -> tuple[str, ...]:
        """Names of the linear layers that LoRA can reach, without their place in the layer, each once."""
        return tuple(dict.fromkeys(linear.name.rpartition(".")[2] for kind in self.layers for linear in kind.linears))

    @property
    def experts(self) -> Experts | None:
        return next((kind.experts for kind in self.layers if kind.experts), None)


def kinds_in_order(family: Family, values: Config) -> list[LayerKind]:
    """The kind of each layer. Raises StopIteration where the file leaves one out."""
    layers = range(length("num_hidden_layers", values))
    return [next(kind for kind in family.layers if kind.has(index, values)) for index in layers]


def count_weights(family: Family, values: Config) -> int:
    """All weights of a model with those numbers, shared ones once; ``values`` has every key that the file names."""
    layers = sum(kind.weights(values) for kind in kinds_in_order(family, values))
    tables = 1 if values.get("tie_word_embeddings", family.tied) else 2
    embedding = tables * length(["vocab_size", "hidden_size"], values)
    outside = sum(length(each, values) for each in family.outside)
    return layers + embedding + length("hidden_size", values) + outside


def length(of: Length, values: Config) -> int:
    """The number that a `Length` is for a model. Raises KeyError for a value that the model does not have."""
    if isinstance(of, dict):
        return sum(length(each, values) for each in of["sum"])
    if isinstance(of, list):
        return prod(length(each, values) for each in of)
    return of if isinstance(of, int) else int(str(values[of]))


def why_not_planned(family: Family, known: Collection[str]) -> str | None:
    """Why a model of a launched family cannot be sized: its layers differ, or its file names none of ``known``."""
    if len(family.layers) != 1 or family.layers[0].when:
        return "its layers are of several kinds, and only models whose layers are all alike are planned"
    [layer] = family.layers
    lengths: list[Length] = [*layer.norms, *layer.qk_norm, *layer.vectors, *family.outside]
    for linear in layer.linears:
        lengths += [linear.in_features, linear.out_features, *([linear.bias] if isinstance(linear.bias, str) else [])]
    if layer.experts:
        experts = layer.experts
        lengths += [experts.count, experts.per_token, experts.in_features, experts.width]
    unknown = sorted({name for each in lengths for name in _names(each)} - set(known))
    return f"its file names {', '.join(unknown)}; known: {', '.join(known)}" if unknown else None


def _names(of: Length) -> Iterator[str]:
    if isinstance(of, str):
        yield of
    elif not isinstance(of, int):
        for each in of["sum"] if isinstance(of, dict) else of:
            yield from _names(each)


def find_family(model_type: str | None) -> Family | None:
    """The family of that ``model_type``; None where there is no file of it. Raises Unreadable for one that is wrong."""
    if not model_type or not re.fullmatch(r"\w+", model_type):
        return None
    return _find(model_type, os.environ.get(OWN))


@cache
def _find(model_type: str, own: str | None) -> Family | None:
    for folder in _folders():
        path = folder / f"{model_type}.yaml"
        if path.is_file():
            return _parse(path)
    return None


def described(model_type: str) -> Family:
    """The family of a model that could be read, so that there is one. Raises Unreadable where there is none."""
    found = find_family(model_type)
    if found is None:
        raise Unreadable(f"no family describes model_type {model_type!r}")
    return found


def family_names() -> tuple[str, ...]:
    """Every ``model_type`` that has a file, those described in it or not; no file is read."""
    return tuple(sorted({path.stem for folder in _folders() for path in folder.glob("*.yaml")}))


def families() -> tuple[Family, ...]:
    """All of them, by name."""
    return tuple(found for name in family_names() if (found := find_family(name)) is not None)


def launched_families() -> tuple[str, ...]:
    """The ``model_type`` of each family that can be launched."""
    return tuple(found.model_type for found in families() if found.launched)


def default_family() -> Family:
    """The one that is meant where nobody says which."""
    return next(found for found in families() if found.default)


def family_named(base_model: str) -> tuple[Family | None, bool]:
    """The family whose pattern covers most of a hub name, and whether the name also says which layers there are."""
    name = base_model.lower()
    matches = ((re.search(found.named, name), found) for found in families() if found.named)
    found = max(((len(match[0]), family) for match, family in matches if match), key=lambda pair: pair[0], default=None)
    if found is not None:
        family = found[1]
        return family, bool(family.plain_named and re.search(family.plain_named, name))
    return None, False


def _folders() -> list[Path]:
    ours = resource("presets", "families")
    if not (own := os.environ.get(OWN)):
        return [ours]
    if not expand(own).is_dir():
        raise Unreadable(
            f"{OWN} names {own}, which is no folder", hint="a folder of YAML files, one for each model_type"
        )
    return [expand(own), ours]


def _parse(path: Path) -> Family:
    from launcher.yaml_source import plain

    if not path.is_relative_to(resource("presets")):  # ours are checked by a test, and a check costs more than a read
        _check(path)
    data: Any = plain(read(path))
    evidence = data.pop("evidence", {})
    layers = tuple(_kind(each) for each in data.pop("layers", ()))
    outside, towers = (tuple(data.pop(key, ())) for key in ("outside", "towers"))
    return Family(model_type=path.stem, layers=layers, outside=outside, towers=towers, **data, **evidence)


def _check(path: Path) -> None:
    from launcher.catalog.check import check
    from launcher.yaml_source import parse_yaml

    data, positions = parse_yaml(read(path), file=str(path))
    problems: list[Problem] = check(data, "family.json", file=str(path), positions=positions)
    if problems:
        raise Unreadable(problems)


def _kind(data: Any) -> LayerKind:
    experts = data.get("experts")
    return LayerKind(
        kind=data["kind"],
        linears=tuple(
            FamilyLinear(name, each["in"], each["out"], each.get("bias", False))
            for name, each in data["linears"].items()
        ),
        norms=tuple(data["norms"]),
        qk_norm=tuple(data.get("qk_norm", ())),
        vectors=tuple(data.get("vectors", ())),
        experts=experts and Experts(in_features=experts.pop("in"), **experts),
        when=data.get("when", {}),
    )
