"""From the names that modules had in training to the names that tensors have on disk.

They are the same for most families. Two kinds differ: transformers 5 fuses the experts of a Mixture-of-Experts in
memory and stores them one by one, and multi-modal models keep their older prefix on disk.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

# Module prefix in memory → on disk, tried in this order after the name itself.
RENAMES: tuple[tuple[str, str], ...] = (
    (r"\.mlp\.(gate|experts)\b", r".block_sparse_moe.\1"),
    (r"\.block_sparse_moe\.", r".mlp."),
    (r"^model\.language_model\.", r"language_model.model."),
    (r"^lm_head\b", r"language_model.lm_head"),
    (r"^model\.vision_tower\.", r"vision_tower."),
    (r"^model\.multi_modal_projector\.", r"multi_modal_projector."),
    (r"^model\.", r"model.language_model."),
    (r"^model\.", r"language_model.model."),
)
# What a name may begin with and be the same tensor: a wrapper more or less. Towers (visual, vision_tower) are none.
_PREFIXES = frozenset({"model", "language_model", "base_model", "text_model", "transformer", "thinker", "llm"})

# The projections of one expert on disk: gate, up (fused in this order along the rows) and down.
EXPERT_NAMES: tuple[tuple[str, str, str], ...] = (("gate_proj", "up_proj", "down_proj"), ("w1", "w3", "w2"))

_EXPERT = re.compile(r"(?P<container>.+\.experts)\.(?P<index>\d+)\.(?P<projection>\w+)\.weight")


class BaseNames:
    """Finds the tensors of a module in a checkpoint."""

    def __init__(self, base: Iterable[str]) -> None:
        self.base = set(base)
        self._cores: dict[str, list[str]] = {}
        for name in sorted(self.base):
            self._cores.setdefault(core(name), []).append(name)
        self.experts: dict[str, dict[tuple[int, str], str]] = {}
        for name in self.base:
            match = _EXPERT.fullmatch(name)
            if match:
                table = self.experts.setdefault(match["container"], {})
                table[int(match["index"]), match["projection"]] = name

    def find(self, name: str) -> str | None:
        """The name on disk of the tensor that is called ``name`` in training, or None.

        Where no known spelling fits, the one tensor that differs in its prefix alone.
        """
        found = next((spelling for spelling in spellings(name) if spelling in self.base), None)
        like = self.alike(name) if found is None else []
        return like[0] if len(like) == 1 else found

    def alike(self, name: str) -> list[str]:
        """The tensors whose names differ in their prefix alone, in any spelling of the rest."""
        return list(dict.fromkeys(like for spelling in spellings(name) for like in self._cores.get(core(spelling), [])))

    def expert_container(self, module: str) -> str | None:
        """The prefix on disk of the experts that training calls ``module`` (``….mlp.experts``), or None."""
        found = next((spelling for spelling in spellings(module) if spelling in self.experts), None)
        like = [name for name in self.experts if core(name) in {core(spelling) for spelling in spellings(module)}]
        return like[0] if found is None and len(like) == 1 else found

    def projections(self, container: str) -> tuple[str, str, str] | None:
        """Which of the known spellings the experts of ``container`` use."""
        used = {projection for _, projection in self.experts[container]}
        return next((names for names in EXPERT_NAMES if used == set(names)), None)


def core(name: str) -> str:
    """A name without what it may begin with."""
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _PREFIXES:
        del parts[0]
    return ".".join(parts)


def spellings(name: str) -> Iterator[str]:
    """``name`` and what else it may be called on disk."""
    yield name
    for pattern, replacement in RENAMES:
        renamed, count = re.subn(pattern, replacement, name, count=1)
        if count:
            yield renamed


def is_expert(name: str) -> bool:
    """Whether a tensor on disk is a projection of one expert."""
    return _EXPERT.fullmatch(name) is not None


def embedding_names(names: Iterable[str]) -> tuple[str | None, str | None]:
    """The input embedding and the output head among tensor names (either may be missing)."""
    names = list(names)
    embedding = next(
        (name for name in names if re.search(r"(^|\.)(embed_tokens|wte|tok_embeddings)\.weight$", name)), None
    )
    head = next((name for name in names if re.search(r"(^|\.)(lm_head|embed_out|output)\.weight$", name)), None)
    return embedding, head
