"""From names in memory to names on disk."""

from __future__ import annotations

import pytest

pytest.importorskip("torch")

from launcher.merge.names import BaseNames, embedding_names, is_expert


def names(*tensors: str) -> BaseNames:
    return BaseNames(tensors)


@pytest.mark.parametrize(
    ("stored", "asked"),
    [
        ("model.layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("model.layers.0.block_sparse_moe.gate.weight", "model.layers.0.mlp.gate.weight"),
        ("model.layers.0.block_sparse_moe.experts.1.w1.weight", "model.layers.0.mlp.experts.1.w1.weight"),
        ("language_model.model.layers.0.mlp.up_proj.weight", "model.language_model.layers.0.mlp.up_proj.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("model.language_model.norm.weight", "model.norm.weight"),
        ("model.layers.0.mlp.up_proj.weight", "model.language_model.layers.0.mlp.up_proj.weight"),
        ("model.layers.0.mlp.up_proj.weight", "language_model.model.layers.0.mlp.up_proj.weight"),
        ("layers.0.mlp.up_proj.weight", "model.layers.0.mlp.up_proj.weight"),
        ("model.language_model.layers.0.mlp.up_proj.weight", "layers.0.mlp.up_proj.weight"),
        ("thinker.model.layers.0.mlp.up_proj.weight", "model.model.layers.0.mlp.up_proj.weight"),
        ("model.layers.0.block_sparse_moe.gate.weight", "model.language_model.layers.0.mlp.gate.weight"),
    ],
)
def test_finds_a_tensor_under_its_name_on_disk(stored: str, asked: str) -> None:
    assert names(stored, "other.weight").find(asked) == stored


@pytest.mark.parametrize("tower", ["visual", "vision_tower", "model.visual", "mtp", "model.audio_tower"])
def test_a_tower_is_another_part(tower: str) -> None:
    found = names("model.layers.0.mlp.up_proj.weight", "x.weight")
    assert found.find(f"{tower}.layers.0.mlp.up_proj.weight") is None


def test_of_two_that_differ_in_their_prefix_none_is_taken() -> None:
    found = names("model.layers.0.mlp.up_proj.weight", "language_model.layers.0.mlp.up_proj.weight")
    assert found.find("layers.0.mlp.up_proj.weight") is None
    assert len(found.alike("layers.0.mlp.up_proj.weight")) == 2


def test_experts_are_found_under_another_prefix() -> None:
    stored = [f"model.layers.0.mlp.experts.{i}.{name}.weight" for i in (0, 1) for name in ("gate_proj", "up_proj")]
    asked = "model.language_model.layers.0.mlp.experts"
    assert names(*stored).expert_container(asked) == "model.layers.0.mlp.experts"


def test_an_unknown_name_is_not_found() -> None:
    assert names("model.layers.0.mlp.up_proj.weight").find("model.layers.1.mlp.up_proj.weight") is None


def test_experts_are_known_by_their_container() -> None:
    prefix = "model.layers.0.block_sparse_moe.experts"
    found = names(*(f"{prefix}.{index}.{name}.weight" for index in range(2) for name in ("w1", "w2", "w3")))
    container = found.expert_container("model.layers.0.mlp.experts")
    assert container == prefix
    assert found.projections(prefix) == ("w1", "w3", "w2")
    assert is_expert(f"{prefix}.0.w1.weight")
    assert not is_expert("model.layers.0.mlp.shared_expert.up_proj.weight")


def test_embedding_and_head() -> None:
    assert embedding_names(["model.norm.weight", "lm_head.weight", "model.embed_tokens.weight"]) == (
        "model.embed_tokens.weight",
        "lm_head.weight",
    )
    assert embedding_names(["model.layers.0.self_attn.o_proj.weight"]) == (None, None)
