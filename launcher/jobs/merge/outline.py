"""What will be written: every output tensor with where its base, its update and its replacement come from.

All checks of an adapter against its base are here, before anything is written; every problem is reported at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod

import torch

from launcher.errors import BadInput, Problem
from launcher.jobs.merge.adapter import Adapter, ExpertsUpdate, LowRank, Update
from launcher.jobs.merge.bases import base_sources
from launcher.jobs.merge.record import Quantization
from launcher.jobs.merge.sources import Plain, Source, StoredEightBit, StoredFourBit
from launcher.jobs.merge.tensors import FLOATS, TensorRef
from launcher.merge.names import BaseNames, embedding_names


@dataclass
class Output:
    """One tensor of the merged model."""

    name: str
    source: Source
    dtype: torch.dtype
    update: Callable[[], LowRank] | None = None
    add: tuple[TensorRef, float] | None = None  # a trained lora_bias and its scale, for a base bias
    rows: tuple[list[int], TensorRef] | None = None  # token rows that are replaced

    @property
    def shape(self) -> tuple[int, ...]:
        return self.source.shape

    @property
    def nbytes(self) -> int:
        """Bytes, as it will be stored."""
        size: int = self.dtype.itemsize * prod(self.shape)
        return size


@dataclass
class Outline:
    """The merged model: its tensors in the order in which they are written, its config.json, and notes for a person."""

    outputs: list[Output]
    config: dict[str, object]
    notes: list[str] = field(default_factory=list)
    rows: tuple[int, int] | None = None  # of the input embedding: the base's, and those of the merged model

    @property
    def nbytes(self) -> int:
        """Bytes of all tensors, as they will be stored."""
        return sum(output.nbytes for output in self.outputs)


def outline(
    base: dict[str, TensorRef],
    config: dict[str, object],
    adapter: Adapter,
    quantization: Quantization,
    dtype: torch.dtype,
    original: bool,
) -> Outline:
    """Lay out the merged model. Raises BadInput with every reason why this adapter does not fit this base."""
    sources, problems = base_sources(base, quantization, original)
    layout = _ShardLayout(base, dict(config), adapter, dtype, sources, problems)
    layout.check_stored_quantised(original)
    layout.place_replacements()
    layout.place_updates()
    layout.place_experts()
    layout.place_tokens()
    layout.check_coverage()
    layout.settle_tied()
    if layout.problems:
        raise BadInput(layout.problems)
    return Outline(list(layout.outputs.values()), layout.config, adapter.notes, layout.rows())


class _ShardLayout:
    """The outline while it grows."""

    def __init__(
        self,
        base: dict[str, TensorRef],
        config: dict[str, object],
        adapter: Adapter,
        dtype: torch.dtype,
        sources: dict[str, Source],
        problems: list[Problem],
    ) -> None:
        self.base, self.config, self.adapter, self.problems = base, config, adapter, problems
        self.sources = sources
        self.dtype = dtype
        self.names = BaseNames(base)
        self.file = str(adapter.path)
        self.outputs = {name: self.output(name, source) for name, source in sources.items()}
        self.replaced: set[str] = set()
        self.updated: set[str] = set()

    def output(self, name: str, source: Source) -> Output:
        stored = source.refs[0].dtype
        quantised = isinstance(source, StoredFourBit | StoredEightBit)
        return Output(name, source, self.dtype if quantised or stored in FLOATS else stored)

    def problem(self, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(message, self.file, hint=hint))

    def find(self, name: str, what: str) -> str | None:
        """The output that training calls ``name``; a problem when the base has none."""
        found = name if name in self.outputs else self.names.find(name)
        if found is None or found not in self.outputs:
            like = self.names.alike(name)
            hint = f"it may be any of {', '.join(like)}" if like else "is this the base it was trained on?"
            self.problem(f"the adapter {what} {name!r}, which the base does not have", hint)
            return None
        return found

    def fits(self, module: str, shape: tuple[int, ...], target: str) -> bool:
        """Whether the output ``target`` has this shape; a problem where it has not."""
        if self.outputs[target].shape == shape:
            return True
        self.problem(
            f"the adapter's update of {module!r} is for a weight of shape {list(shape)}, "
            f"and the base has {list(self.outputs[target].shape)}",
            "is this the base it was trained on?",
        )
        return False

    def check_stored_quantised(self, original: bool) -> None:
        """With a base that exists only quantised there are no original weights to merge into."""
        stored = [name for name, o in self.outputs.items() if isinstance(o.source, StoredFourBit | StoredEightBit)]
        if original and stored:
            message = f"--base-mode original needs 16-bit weights, and {len(stored)} tensors are stored quantised"
            self.problems.append(Problem(message, hint="merge into the dequantized base instead"))

    def place_replacements(self) -> None:
        """Tensors that the adapter holds whole: modules_to_save, trained biases, resized embeddings."""
        self.adapter.replacements.update(self.resized())
        embedding, head = embedding_names([*self.outputs, *self.adapter.replacements])
        for name, ref in self.adapter.replacements.items():
            found = self.names.find(name)
            tied_head = name == head and found is None and embedding is not None
            if found is None and not tied_head:
                self.problem(f"the adapter replaces {name!r}, which the base does not have")
                continue
            target = found or name
            resizable = tied_head or target in embedding_names(self.outputs)
            if not tied_head and self.outputs[target].shape != ref.shape:
                same_width = len(ref.shape) == 2 and self.outputs[target].shape[1:] == ref.shape[1:]
                if not (resizable and same_width):
                    self.fits(name, ref.shape, target)
                    continue
            self.outputs[target] = Output(target, Plain(ref, None), self.dtype)
            self.replaced.add(target)

    def resized(self) -> dict[str, TensorRef]:
        """Of the base's tensors in a raw state dict, the embeddings that have other rows than this base has."""
        found = {name: self.names.find(name) for name in self.adapter.carried}
        pair = embedding_names(self.outputs)
        return {
            name: ref
            for name, ref in self.adapter.carried.items()
            if (target := found[name]) in pair and target is not None and self.outputs[target].shape != ref.shape
        }

    def place_updates(self) -> None:
        """The low-rank updates of linear layers and embeddings, each with its trained bias."""
        for module, update in self.adapter.updates.items():
            name = f"{module}.weight"
            target = self.untie_head(name) if self.is_tied_head(name) else self.find(name, "updates")
            if target is None or not self.fits(module, update.shape, target):
                continue
            self.outputs[target].update = update.load
            self.updated.add(target)
            if update.magnitude is not None and update.magnitude.elements != update.shape[0]:
                self.problem(f"the DoRA magnitude of {module!r} has {update.magnitude.elements} rows")
            if update.bias is not None:
                self.place_bias(module, update, update.bias)

    def place_bias(self, module: str, update: Update, bias: TensorRef) -> None:
        target = self.find(f"{module}.bias", "adds a lora_bias to")
        if target is not None and self.fits(f"{module}.bias", bias.shape, target):
            self.outputs[target].add = bias, update.scale

    def is_tied_head(self, name: str) -> bool:
        """Whether ``name`` is an output head that the base does not store, because it is the embedding."""
        missing = self.names.find(name) is None and name not in self.outputs
        return missing and name.endswith("lm_head.weight") and embedding_names(self.outputs)[0] is not None

    def untie_head(self, name: str) -> str:
        """Give a tied head a tensor of its own, equal to the embedding, so that it can be updated alone."""
        embedding, _ = embedding_names(self.base)
        assert embedding is not None
        self.outputs[name] = self.output(name, self.sources[embedding])
        return name

    def place_experts(self) -> None:
        """Updates of fused experts, given to the tensors of the single experts that the base stores."""
        containers: dict[str, list[str]] = {}
        for wrapped in self.adapter.wrapped:
            containers.setdefault(wrapped.replace(".base_layer", ""), []).append(wrapped)
        for module, wrapped_names in containers.items():
            container = self.names.expert_container(module)
            projections = self.names.projections(container) if container else None
            if container is None or projections is None:
                self.problem(f"the adapter updates the experts {module!r}, and the base does not store them one by one")
                continue
            for wrapped in wrapped_names:
                self.place_fused(module, wrapped, self.names.experts[container], projections)

    def place_fused(
        self, module: str, wrapped: str, table: dict[tuple[int, str], str], projections: tuple[str, str, str]
    ) -> None:
        """One fused parameter's update: gate_up_proj has the rows of gate, then those of up; down_proj is down.

        ``table`` names the tensor of each expert's projections. peft wraps a module once for each parameter, and the
        inner wrapper, ``.base_layer``, is gate_up_proj's: that tells them apart where their shapes do not.
        """
        a, b = self.adapter.wrapped[wrapped]
        experts = 1 + max(index for index, _ in table)
        gate, up, down = projections
        gate_shape, down_shape = (self.outputs[table[0, name]].shape for name in (gate, down))
        half = gate_shape[0]
        fused = (2 * half, gate_shape[1])
        shape = (b.shape[0], a.shape[1])
        if a.shape[0] % experts or shape not in (fused, down_shape):
            self.problem(
                f"the adapter's update of {wrapped!r} is for experts of shape {list(shape)}, "
                f"and the base has {list(fused)} and {list(down_shape)} in {experts} experts"
            )
            return
        is_fused = shape == fused and (fused != down_shape or wrapped.endswith(".base_layer"))
        parameter = "gate_up_proj" if is_fused else "down_proj"
        scale = self.adapter.scale([f"{module}.{parameter}"], a.shape[0] // experts)
        update = ExpertsUpdate(wrapped, a, b, experts, scale)
        shares = {gate: slice(0, half), up: slice(half, 2 * half)} if is_fused else {down: slice(0, shape[0])}
        for index in range(experts):
            for projection, rows in shares.items():
                target = table[index, projection]
                self.outputs[target].update = _expert_loader(update, index, rows)
                self.updated.add(target)

    def place_tokens(self) -> None:
        """Single rows of an embedding that the adapter holds whole: trainable tokens."""
        for module, (indices, ref) in self.adapter.tokens.items():
            target = self.find(f"{module}.weight", "trains tokens of")
            if target is None:
                continue
            shape = self.outputs[target].shape
            if ref.shape != (len(indices), shape[1]) or any(not 0 <= index < shape[0] for index in indices):
                self.problem(f"the trained tokens of {module!r} do not fit a weight of shape {list(shape)}")
                continue
            self.outputs[target].rows = indices, ref

    def check_coverage(self) -> None:
        """peft wraps every layer unless told otherwise: an adapter that stops short is for a shallower base."""
        config = self.adapter.config
        targets = config.get("target_modules")
        limited = config.get("layers_to_transform") is not None or config.get("exclude_modules")
        if limited or not isinstance(targets, list) or any(re.search(r"\d", str(target)) for target in targets):
            return
        missing = [
            name
            for name in self.outputs
            if name.endswith(".weight")
            and name not in self.updated
            and any(name.removesuffix(".weight").endswith(f".{target}") for target in targets)
        ]
        if missing and self.updated:
            self.problem(
                f"the adapter targets {', '.join(sorted(map(str, targets)))} and has no update for {missing[0]!r} "
                f"and {len(missing) - 1} others",
                "is this the base it was trained on?",
            )

    def settle_tied(self) -> None:
        """Keep embedding and head one tensor where training did; make them two where it changed one of them."""
        embedding, head = embedding_names(self.outputs)
        if embedding is None:
            return
        stored_head = next((name for name in self.base if name == head), None)
        tied = self.config.get("tie_word_embeddings", stored_head is None)
        tied = bool(tied) or stored_head is None
        changed = {name for name in (embedding, head) if name in self.replaced | self.updated}
        if tied and head is not None and not changed:
            del self.outputs[head]  # stored twice, and still one tensor
        elif tied and changed:
            head = self.separate(embedding, head, changed)
        rows = self.outputs[embedding].shape[0]
        if head in self.outputs and self.outputs[head].shape[0] != rows:
            self.problem(
                f"the merged embedding would have {rows} rows and the head {self.outputs[head].shape[0]}",
                "the adapter was trained with resized embeddings and holds only one of the two",
            )
        for part in (self.config, self.config.get("text_config")):
            if isinstance(part, dict) and ("vocab_size" in part or part is self.config):
                part["vocab_size"] = rows

    def rows(self) -> tuple[int, int] | None:
        """Rows of the input embedding: of the base, and of the merged model."""
        embedding, _ = embedding_names(self.outputs)
        if embedding is None or embedding not in self.sources:
            return None
        return self.sources[embedding].shape[0], self.outputs[embedding].shape[0]

    def separate(self, embedding: str, head: str | None, changed: set[str]) -> str | None:
        """Decide about a tied pair of which something was trained; returns the head that is written, if any."""
        resized = self.outputs[embedding].shape[0] != self.base[embedding].shape[0]
        if changed == {embedding, head} and embedding in self.replaced and head in self.replaced:
            assert head is not None
            first, second = self.outputs[embedding].source.refs[0], self.outputs[head].source.refs[0]
            if not {embedding, head} & self.updated and _equal(first, second):
                del self.outputs[head]
                return None
        if changed == {embedding} and embedding in self.replaced and resized:
            if "embed_tokens" in (self.adapter.config.get("modules_to_save") or []):
                self.problem(
                    "the adapter trained a resized embedding apart from the head that is tied to it, and the head's "
                    "new rows were not saved",
                    "train with ensure_weight_tying, or with lm_head in modules_to_save as well",
                )
            return None
        if head is None or head not in self.outputs:
            head = self.untie_head(head or "lm_head.weight")
        self.config["tie_word_embeddings"] = False
        self.adapter.notes.append("training changed embedding and head apart: the merged model stores both, untied")
        return head


def _expert_loader(update: ExpertsUpdate, index: int, rows: slice) -> Callable[[], LowRank]:
    return lambda: update.load(index, rows)


def _equal(first: TensorRef, second: TensorRef) -> bool:
    """Whether two stored tensors are the same, compared a few rows at a time."""
    if first.shape != second.shape or first.dtype != second.dtype:
        return False
    step = max(1, (16 << 20) // max(1, first.row_elements))
    return all(
        torch.equal(first.read(row, min(row + step, first.rows)), second.read(row, min(row + step, first.rows)))
        for row in range(0, first.rows, step)
    )
