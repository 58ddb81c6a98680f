"""How far the merged model is from the one that was trained, as a job in the trainer's python.

Both are run in float32 on the same prompts, one decoder layer at a time. The trained model is built apart from the
merge: bitsandbytes itself quantises the base, and the adapter acts unmerged, as ``x @ A.T @ B.T`` beside each weight.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from launcher.errors import BadInput, RunFailed
from launcher.jobs.merge import library, streamed
from launcher.jobs.merge.adapter import LowRank
from launcher.jobs.merge.engine import choose_device
from launcher.jobs.merge.job import Merge, Progress
from launcher.jobs.merge.outline import Output
from launcher.jobs.merge.sources import FourBit
from launcher.jobs.merge.tensors import TensorRef, read_checkpoint
from launcher.merge.manifest import MANIFEST, read_object
from launcher.merge.names import BaseNames, embedding_names
from launcher.records.codec import encode
from launcher.records.jobs import Emit, Verified, VerifyRequest
from launcher.records.merged import Distance, OtherBase

PROMPT_TOKENS = 256
LOGITS_BYTES = 1 << 30
"""The logits of all prompts, twice and in float32, stay within this; longer prompts are cut."""


def run(request: VerifyRequest, emit: Emit) -> Verified:
    """How far the merged model's logits are from the trained model's."""
    merge = Merge(replace(request.merge, base_mode="dequantized"))
    place = request.merge.out
    merged = read_checkpoint(Path(place))
    device, _ = choose_device(request.merge.device, max(ref.nbytes for ref in merged.values()))
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(place)
    ids, mask = tokenise(request.prompts, place, config.get_text_config().vocab_size)
    runner = Runner(config, ids.to(device), mask.to(device), device, emit, passes=3 if request.both else 2)

    trained = Weights({output.name: TrainedTensor(output) for output in merge.outline.outputs})
    wanted = runner.logits(trained, "trained model", low_rank=True)
    stored = Weights({name: StoredTensor(ref) for name, ref in merged.items()})
    found = compare(wanted, runner.logits(stored, "merged model", low_rank=False))
    result = Verified(**encode(found), tokens=int(mask.sum()))
    if request.both:
        manifest = Path(place) / MANIFEST
        base = read_object(manifest).get("base") if manifest.is_file() else request.merge.base_mode
        mode = "dequantized" if base == "original" else "original"
        other = Merge(replace(request.merge, base_mode=mode))
        weights = Weights({output.name: MergedTensor(output) for output in other.outline.outputs})
        distance = compare(wanted, runner.logits(weights, f"{mode} base", low_rank=False))
        result.other = OtherBase(base=mode, **encode(distance))
    return result


class Tensor:
    """A weight by name, made when it is asked for."""

    def load(self, device: torch.device) -> torch.Tensor:
        raise NotImplementedError


class StoredTensor(Tensor):
    """A tensor as it stands in a checkpoint."""

    def __init__(self, ref: TensorRef) -> None:
        self.ref = ref

    def load(self, device: torch.device) -> torch.Tensor:
        return self.ref.tensor().to(device).float()


class TrainedTensor(Tensor):
    """What training computed with: 4-bit weights by bitsandbytes itself; the low-rank update stays apart."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def load(self, device: torch.device) -> torch.Tensor:
        source = self.output.source
        if isinstance(source, FourBit):
            weights = source.ref.tensor().to(device, source.load_dtype)
            restored = library.four_bit_round_trip(weights, source.kind, source.block_size, source.double_quant)
            return restored.float()
        return with_rows(source.whole(device), self.output)


class MergedTensor(Tensor):
    """What a merge would store, without storing it."""

    def __init__(self, output: Output) -> None:
        self.output = output

    def load(self, device: torch.device) -> torch.Tensor:
        exact = with_rows(self.output.source.whole(device), self.output)
        if self.output.update is not None:
            update = on_device(self.output.update(), device)
            exact = exact + update.delta(0, exact.shape[0])
            if update.magnitude is not None:
                exact *= (update.magnitude / torch.linalg.vector_norm(exact, dim=1)).unsqueeze(1)
        return exact.to(self.output.dtype).float()


def with_rows(tensor: torch.Tensor, output: Output) -> torch.Tensor:
    """Trained token rows and an added bias in their place."""
    if output.rows is not None:
        tensor = tensor.clone()
        tensor[output.rows[0]] = output.rows[1].tensor().to(tensor)
    if output.add is not None:
        bias, scale = output.add
        tensor = tensor + scale * bias.tensor().to(tensor)
    return tensor


def on_device(update: LowRank, device: torch.device) -> LowRank:
    """The update with its factors on ``device``."""
    magnitude = None if update.magnitude is None else update.magnitude.to(device)
    return LowRank(update.a.to(device), update.b.to(device), update.scale, magnitude)


class Weights:
    """The weights of one model by the names that its modules have in memory."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.folded: set[str] = set()  # parameters whose update is added to them, for want of a linear module
        self.names = BaseNames(tensors)

    def find(self, name: str) -> Tensor | None:
        """The tensor of a parameter; of a tied head, the embedding."""
        found = self.names.find(name)
        if found is None and name.endswith("lm_head.weight"):
            found, _ = embedding_names(self.tensors)
        return None if found is None else self.tensors[found]

    def load(self, name: str, device: torch.device) -> torch.Tensor:
        found = self.find(name)
        if found is not None:
            return with_update(found, device) if name in self.folded else found.load(device)
        module, _, parameter = name.rpartition(".")
        container = self.names.expert_container(module)
        projections = self.names.projections(container) if container else None
        if container is None or projections is None:
            raise RunFailed(f"cannot compare this model: no tensor for {name!r}")
        table = self.names.experts[container]
        parts = projections[:2] if parameter == "gate_up_proj" else projections[2:]
        experts = range(1 + max(index for index, _ in table))
        return torch.stack(
            [torch.cat([with_update(self.tensors[table[index, part]], device) for part in parts]) for index in experts]
        )


def with_update(tensor: Tensor, device: torch.device) -> torch.Tensor:
    """A weight with its update added, as peft does it for parameters that belong to no linear module."""
    weight = tensor.load(device)
    if isinstance(tensor, TrainedTensor) and tensor.output.update is not None:
        weight = weight + on_device(tensor.output.update(), device).delta(0, weight.shape[0])
    return weight


class Runner:
    """Runs models of one config on one batch of prompts."""

    def __init__(
        self, config: Any, ids: torch.Tensor, mask: torch.Tensor, device: torch.device, emit: Emit, passes: int
    ) -> None:
        self.config, self.ids, self.mask, self.device = config, ids, mask, device
        self.model = streamed.empty_model(config)
        for buffer_owner in self.model.modules():
            for name, buffer in buffer_owner._buffers.items():
                if buffer is not None:
                    buffer_owner._buffers[name] = buffer.to(device)
        count = sum(1 for _ in streamed.units(self.model))
        self.progress = Progress(emit, count * passes, 0, unit="layers")

    def logits(self, weights: Weights, what: str, *, low_rank: bool) -> torch.Tensor:
        """Float32 logits ``[tokens, vocabulary]`` of every token that is not padding, on the CPU."""
        hooks = []
        if low_rank:
            hooks += self.attach_updates(weights)
        hooks += streamed.stream(
            self.model,
            lambda name: weights.load(name, self.device),
            lambda unit: self.progress.advance(1, f"{what}, {unit}"),
        )
        try:
            with torch.inference_mode():
                output = self.model(input_ids=self.ids, attention_mask=self.mask, use_cache=False)
                logits: torch.Tensor = output.logits[self.mask.bool()].float().cpu()
        finally:
            for hook in hooks:
                hook.remove()
        return logits

    def attach_updates(self, weights: Weights) -> list[Any]:
        """Put every low-rank update beside its module; where that is not linear, it goes into the weight."""
        hooks = []
        for name, module in self.model.named_modules():
            tensor = weights.find(f"{name}.weight") if hasattr(module, "weight") else None
            if not isinstance(tensor, TrainedTensor) or tensor.output.update is None:
                continue
            if name.endswith("lm_head") and not tensor.output.name.endswith("lm_head.weight"):
                continue  # a tied head without a tensor of its own
            update = on_device(tensor.output.update(), self.device)
            if isinstance(module, torch.nn.Embedding):
                hooks.append(streamed.add_embedding_low_rank(module, update.a, update.b, update.scale))
            elif isinstance(module, torch.nn.Linear):
                hooks.append(streamed.add_low_rank(module, update.a, update.b, update.scale, update.magnitude))
            else:
                weights.folded.add(f"{name}.weight")
        return hooks


def compare(wanted: torch.Tensor, found: torch.Tensor) -> Distance:
    """KL(trained ‖ other) per token in nats, share of tokens with the same likeliest next token, relative L2.

    Raises RunFailed for logits that are not finite: they would compare as equal.
    """
    for logits, whose in ((wanted, "trained"), (found, "merged")):
        if not bool(torch.isfinite(logits).all()):
            count = int((~torch.isfinite(logits)).any(-1).sum())
            raise RunFailed(f"the {whose} model's logits are not finite at {count} of {len(logits)} tokens")
    kl = 0.0
    for first in range(0, len(wanted), 64):
        p = wanted[first : first + 64].double().log_softmax(-1)
        q = found[first : first + 64].double().log_softmax(-1)
        kl += float((p.exp() * (p - q)).sum())
    return Distance(
        kl=max(0.0, kl / len(wanted)),
        top1_agreement=float((wanted.argmax(-1) == found.argmax(-1)).double().mean()),
        relative_l2=float((found - wanted).norm() / wanted.norm().clamp(min=1e-30)),
    )


def tokenise(prompts: list[Any], merged: str, vocabulary: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Prompts as one right-padded batch of ids and its mask. Chat rows go through the merged model's chat template."""
    if not prompts:
        raise BadInput("no prompts to compare the merged model on")
    limit = max(8, min(PROMPT_TOKENS, LOGITS_BYTES // (8 * vocabulary * len(prompts))))
    tokenizer: Any = None
    rows: list[list[int]] = []
    for prompt in prompts:
        if not (isinstance(prompt, list) and all(isinstance(token, int) for token in prompt)):
            if tokenizer is None:
                from transformers import AutoTokenizer

                tokenizer = AutoTokenizer.from_pretrained(merged)
            text = prompt if isinstance(prompt, str) else prompt.get("text")
            if text is None:
                text = tokenizer.apply_chat_template(prompt["messages"], tools=prompt.get("tools"), tokenize=False)
                prompt = tokenizer(text, add_special_tokens=False)["input_ids"]
            else:
                prompt = tokenizer(text)["input_ids"]
        if prompt:
            rows.append(prompt[:limit])
    if not rows:
        raise BadInput("the prompts to compare the merged model on are empty")
    width = max(len(row) for row in rows)
    ids = torch.tensor([row + [0] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows])
    return ids, mask
