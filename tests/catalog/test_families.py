"""Families in files: each is what the class of transformers makes, and no code knows one by name."""

from __future__ import annotations

import ast
import copy
import logging
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import families as room
from launcher.catalog.architecture import count_parameters, linear_layers
from launcher.catalog.check import check
from launcher.catalog.families import (
    Family,
    count_weights,
    families,
    family_named,
    find_family,
    kinds_in_order,
    launched_families,
    length,
)
from launcher.catalog.local import model_from_config
from launcher.errors import Unreadable
from launcher.resources import PACKAGE, resource
from launcher.yaml_source import plain

FILES = sorted(resource("presets", "families").glob("*.yaml"))
DESCRIBED = [family for family in families() if family.layers]
SMALL: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 4, "num_attention_heads": 4,
    "num_key_value_heads": 2, "head_dim": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip
# Numbers that make every length of a family another one.
MORE: dict[str, dict[str, Any]] = {
    "phi3": {"head_dim": 16},
    "mixtral": {"num_local_experts": 4},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40},
    "gpt_oss": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_next": {
        "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "shared_expert_intermediate_size": 48,
        "linear_num_key_heads": 2, "linear_num_value_heads": 4, "linear_key_head_dim": 16, "linear_value_head_dim": 20,
    },
    "glm4_moe": {
        "n_routed_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "n_shared_experts": 1,
        "first_k_dense_replace": 1,
    },
    "falcon_h1": {
        "mamba_d_ssm": 128, "mamba_n_heads": 8, "mamba_d_head": 16, "mamba_n_groups": 1, "mamba_d_state": 16,
    },
    "gemma4_text": {
        "global_head_dim": 40, "vocab_size_per_layer_input": 96, "hidden_size_per_layer_input": 16,
        "layer_types": ["sliding_attention", "full_attention"] * 2,
    },
}  # fmt: skip


def on_meta(config: Any) -> Any:
    """The model of transformers for ``config``, with shapes and no numbers."""
    torch = pytest.importorskip("torch")
    from transformers import AutoModelForCausalLM

    logging.getLogger("transformers").setLevel(logging.ERROR)
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config)


def config_of(model_type: str, **more: Any) -> Any:
    pytest.importorskip("transformers")
    from transformers import CONFIG_MAPPING

    return CONFIG_MAPPING[model_type](**{**SMALL, **MORE.get(model_type, {}), **more})


class Values(dict[str, Any]):
    """A config's values by the names of its config.json: its class renames some."""

    def __init__(self, config: Any) -> None:
        known = {key: value for key, value in config.to_dict().items() if value is not None}
        super().__init__({**known, **MORE.get(config.model_type, {})})  # its class keeps some by another name
        self.config = config

    def __missing__(self, key: str) -> Any:
        return getattr(self.config, key)


def values_of(config: Any) -> Values:
    return Values(config)


@pytest.mark.heavy
@pytest.mark.parametrize("family", DESCRIBED, ids=lambda family: str(family.model_type))
def test_a_family_is_what_transformers_makes(family: Family) -> None:
    """Its weights, counted; and every linear layer of every layer, with its place and its shape."""
    import torch

    config = config_of(family.model_type)
    model, values = on_meta(config), values_of(config)
    assert count_weights(family, values) == sum(weights.numel() for weights in model.parameters())
    theirs = {
        name: (module.in_features, module.out_features, module.bias is not None)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and ".layers." in name
    }
    ours = {
        f"model.layers.{index}.{linear.name}": (
            length(linear.in_features, values), length(linear.out_features, values), linear.has_bias(values)
        )
        for index, kind in enumerate(kinds_in_order(family, values))
        for linear in kind.linears
    }  # fmt: skip
    routers = {name for name in theirs if name.endswith((".mlp.gate", ".router"))}  # counted with the experts
    assert ours == {name: shape for name, shape in theirs.items() if name not in routers}


@pytest.mark.heavy
@pytest.mark.parametrize("model_type", launched_families())
def test_what_is_launched_is_counted_as_it_is_planned(model_type: str) -> None:
    config = config_of(model_type)
    model = model_from_config(dict(values_of(config)), file="x", base_model="x", chat_template="inst")
    assert count_parameters(model) == sum(weights.numel() for weights in on_meta(config).parameters())


@pytest.mark.heavy
@pytest.mark.parametrize("model_type", launched_families())
def test_what_a_config_leaves_out_is_what_its_class_fills_in(model_type: str) -> None:
    """Of the values that ql reads and that have a default in its file or in code."""
    left_out = {"head_dim", "tie_word_embeddings", "attention_bias", "num_local_experts", "num_experts_per_tok"}
    pytest.importorskip("transformers")
    from transformers import CONFIG_MAPPING

    given = {key: value for key, value in SMALL.items() if key not in left_out}
    config = CONFIG_MAPPING[model_type](**given)
    model = model_from_config({"model_type": model_type, **given}, file="x", base_model="x", chat_template="inst")
    assert count_parameters(model) == sum(weights.numel() for weights in on_meta(config).parameters())


@pytest.mark.heavy
def test_towers_are_all_that_a_multi_modal_model_has_besides_its_text() -> None:
    pytest.importorskip("transformers")
    from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

    torch = pytest.importorskip("torch")
    for family in families():
        if not family.text:
            continue
        text = find_family(family.text)
        assert text is not None
        part = config_of(family.text)
        config = CONFIG_MAPPING[family.model_type](
            text_config=copy.deepcopy(part).to_dict(), vision_config={}, audio_config={}
        )
        with torch.device("meta"):
            model = AutoModelForImageTextToText.from_config(config)
        outside = [p.numel() for name, p in model.named_parameters() if not name.startswith(family.towers)]
        assert sum(outside) == count_weights(text, values_of(config.text_config))
        assert any(name.startswith(family.towers) for name, _ in model.named_parameters())


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_each_file_is_as_its_schema_says(path: Path) -> None:
    data = plain(path.read_bytes())
    assert check(data, "family.json", file=str(path)) == []
    family = find_family(path.stem)
    assert family is not None
    assert family.model_type == path.stem
    assert bool(family.layers) or not family.launched


def test_each_kind_of_this_year_can_be_said() -> None:
    kinds = {kind.kind for family in DESCRIBED for kind in family.layers}
    assert kinds >= {"decoder", "sliding_attention", "full_attention", "linear_attention", "hybrid", "dense", "experts"}
    assert any(family.outside for family in DESCRIBED)
    assert any(family.towers for family in families())


def test_no_family_stands_in_the_code() -> None:
    """A release's own rules, and names of chat templates, which happen to be those of families, are something else."""
    allowed = (PACKAGE / "trainers", PACKAGE / "data" / "template_names.py", PACKAGE / "report" / "card.py")
    names, found = set(room.family_names()), []
    for path in sorted(PACKAGE.rglob("*.py")):
        own_rules = "rules" in path.relative_to(PACKAGE).parts and path.is_relative_to(allowed[0])
        if own_rules or path in allowed[1:]:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names:
                found.append(f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}")
    assert found == []


@pytest.mark.parametrize(
    ("name", "model_type", "plain_name"),
    [
        ("meta-llama/Llama-3.1-8B", "llama", True),
        ("mistralai/Mistral-7B-v0.3", "mistral", True),
        ("Qwen/Qwen2.5-7B", "qwen2", True),
        ("Qwen/Qwen3-8B", "qwen3", True),
        ("Qwen/Qwen3-30B-A3B", "qwen3_moe", False),
        ("Qwen/Qwen3-Next-80B-A3B", "qwen3_next", False),
        ("Qwen/Qwen3.5-9B", "qwen3_5", False),
        ("google/gemma-2-9b", "gemma2", True),
        ("google/gemma-3n-E4B", "gemma3n", False),
        ("google/gemma-7b", "gemma", False),
        ("google/flan-t5-xl", "t5", False),
        ("openai/gpt-oss-20b", "gpt_oss", False),
        ("someone/else", None, False),
    ],
)
def test_a_hub_name_tells_the_family(name: str, model_type: str | None, plain_name: bool) -> None:
    family, found_plain = family_named(name)
    assert (family and family.model_type, found_plain) == (model_type, plain_name)


def test_what_overflows_has_its_evidence() -> None:
    overflowing = {family.model_type for family in families() if family.fp16}
    assert overflowing >= {
        "gemma", "gemma2", "gemma3", "gemma3_text", "gemma3n", "gemma4", "qwen2", "qwen3_moe", "qwen3_5", "glm4_moe",
        "gpt_oss", "falcon_h1", "t5",
    }  # fmt: skip
    assert not overflowing & {"llama", "mistral"}


def test_a_folder_that_is_not_there_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(room.OWN, str(tmp_path / "nowhere"))
    with pytest.raises(Unreadable, match="which is no folder"):
        find_family("llama")


def test_a_persons_own_file_wins_and_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(room.OWN, str(tmp_path))
    (tmp_path / "newest.yaml").write_text("title: Newest\nlaunched: true\n")
    with pytest.raises(Unreadable, match="layers"):
        find_family("newest")
    (tmp_path / "other.yaml").write_text((FILES[0].parent / "llama.yaml").read_text().replace("default: true\n", ""))
    found = find_family("other")
    assert found is not None
    assert found.launched
    assert "other" in launched_families() if not (tmp_path / "newest.yaml").unlink() else False


LLAMA = (FILES[0].parent / "llama.yaml").read_text().replace("default: true\n", "")
OTHER = {"model_type": "other", **SMALL}


def plan_other(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The model of SMALL in a family of a person's own."""
    monkeypatch.setenv(room.OWN, str(folder))
    (folder / "other.yaml").write_text(text)
    room._find.cache_clear()
    return model_from_config(OTHER, file="config.json", base_model="x", chat_template="inst")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("    norms: [hidden_size, hidden_size]\n", "    norms: [hidden_size, hiden]\n", "its file names hiden"),
        ("bias: attention_bias", "bias: qkv_bias", "its file names qkv_bias"),
        ("  - kind: decoder\n", "  - kind: decoder\n    when: {layer_types: full}\n", "of several kinds"),
        ("layers:\n", "outside: [[vocab_size, ple]]\nlayers:\n", "its file names ple"),
    ],
)
def test_a_family_that_cannot_be_sized_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, said: str
) -> None:
    assert old in LLAMA
    with pytest.raises(Unreadable, match=said):
        plan_other(LLAMA.replace(old, new), tmp_path, monkeypatch)


@pytest.mark.parametrize("norms", ["[-1]", "[{product: [2]}]", "[[]]", "[true]", "x", "[{sum: []}]", "[1.5]"])
def test_a_length_that_is_none_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, norms: str) -> None:
    with pytest.raises(Unreadable, match="norms"):
        plan_other(LLAMA.replace("[hidden_size, hidden_size]\n", f"{norms}\n"), tmp_path, monkeypatch)


def test_what_stands_outside_of_the_layers_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = count_parameters(plan_other(LLAMA, tmp_path, monkeypatch))
    more = plan_other(LLAMA + "    vectors: [7]\noutside: [[2, hidden_size]]\n", tmp_path, monkeypatch)
    count_parameters.cache_clear()
    assert count_parameters(more) == alone + 7 * SMALL["num_hidden_layers"] + 2 * SMALL["hidden_size"]


def test_linear_layers_know_their_place() -> None:
    model = model_from_config(
        {"model_type": "phi3", **SMALL, "head_dim": 16}, file="x", base_model="x", chat_template="inst"
    )
    assert [(linear.block, linear.name) for linear in linear_layers(model)] == [
        ("self_attn", "qkv_proj"), ("self_attn", "o_proj"), ("mlp", "gate_up_proj"), ("mlp", "down_proj"),
    ]  # fmt: skip
