"""A family that no code knows, added as one YAML file: counted, planned, trained by both trainers, merged."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from launcher.catalog.architecture import count_parameters
from launcher.catalog.families import OWN, count_weights, find_family, kinds_in_order
from launcher.catalog.local import model_from_folder
from launcher.resources import resource
from tests.acceptance.survive import ROOT, few_rows

pytestmark = pytest.mark.acceptance

FAMILY = """
title: SmolLM3
launched: true
named: smollm-?3
tied: true
layers:
  - kind: decoder
    linears:
      self_attn.q_proj: {in: hidden_size, out: [num_attention_heads, head_dim], bias: attention_bias}
      self_attn.k_proj: {in: hidden_size, out: [num_key_value_heads, head_dim], bias: attention_bias}
      self_attn.v_proj: {in: hidden_size, out: [num_key_value_heads, head_dim], bias: attention_bias}
      self_attn.o_proj: {in: [num_attention_heads, head_dim], out: hidden_size, bias: attention_bias}
      mlp.gate_proj: {in: hidden_size, out: intermediate_size}
      mlp.up_proj: {in: hidden_size, out: intermediate_size}
      mlp.down_proj: {in: intermediate_size, out: hidden_size}
    norms: [hidden_size, hidden_size]
"""
STEPS = 6
SETS = ("effective_batch_size=4", "micro_batch_size=2", "eval_batch_size=2", "eval_fraction=0.1", "logging_steps=1",
        "learning_rate=1e-3", f"max_steps={STEPS}")  # fmt: skip


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("families")
    (folder / "smollm3.yaml").write_text(FAMILY)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small random SmolLM3, every second layer without rotary positions, with the tokenizer of the tiny base."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer, SmolLM3Config

    folder = tmp_path_factory.mktemp("base")
    tokenizer = AutoTokenizer.from_pretrained(resource("presets", "models", "cpu-tiny"))
    config = SmolLM3Config(
        vocab_size=768, hidden_size=128, intermediate_size=320, num_hidden_layers=4, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=1024, no_rope_layers=[1, 0, 1, 0], initializer_range=0.06,
        pad_token_id=tokenizer.pad_token_id, bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    torch.manual_seed(1)
    AutoModelForCausalLM.from_config(config).to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def ql(own: Path, *argv: str, code: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), OWN: str(own)}
    words = [sys.executable, "-m", "launcher", *argv]
    done = subprocess.run(words, cwd=own, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_without_its_file_it_is_turned_away(base: Path, tmp_path: Path) -> None:
    said = ql(tmp_path, "estimate", "--gpu", "a10g", "--model", str(base), code=2)
    assert "model_type 'smollm3' is not supported" in said


def test_its_weights_are_those_of_its_class(own: Path, base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    monkeypatch.setenv(OWN, str(own))
    family = find_family("smollm3")
    assert family is not None
    config = AutoConfig.from_pretrained(base)
    with torch.device("meta"):
        there = sum(weights.numel() for weights in AutoModelForCausalLM.from_config(config).parameters())
    values = {**config.to_dict(), "head_dim": config.hidden_size // config.num_attention_heads}
    assert [kind.kind for kind in kinds_in_order(family, values)] == ["decoder"] * 4
    assert count_weights(family, values) == there
    assert count_parameters(model_from_folder(base, base_model="x")) == there
    facts = json.loads(ql(own, "estimate", "--gpu", "a10g", "--model", str(base), "--json"))
    assert facts["vram"]["fits"]


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_trained_and_merged(own: Path, base: Path, backend: str, tickets: Path, tmp_path: Path) -> None:
    run, rows = tmp_path / "run", few_rows(tmp_path, tickets)
    sets = [word for pair in SETS for word in ("--set", pair)]
    named = ["--gpu", "cpu", "--model", str(base), "--backend", backend, "--data", str(rows), "--out", str(run)]
    ql(own, "launch", *named, *sets)
    facts: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    assert facts["state"] == "finished"
    assert facts["training"]["steps"] == STEPS
    assert facts["plan"]["model_type"] == "smollm3"
    assert facts["quantization"]["quant_type"] == "nf4"
    assert facts["merge"]["kl"] <= 1e-4
    assert facts["merge"]["top1_agreement"] >= 0.99
