"""Bases that exist only quantised, and adapters whose record must be guessed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.jobs.merge import job, nf4
from launcher.records.codec import decode
from launcher.records.jobs import MergeRequest


@pytest.mark.parametrize(
    ("bits", "dtype", "double_quant"),
    [(4, "bfloat16", True), (4, "float16", True), (4, "bfloat16", False), (8, "bfloat16", False)],
)
def test_a_base_stored_quantised(
    bits: int,
    dtype: str,
    double_quant: bool,
    quantised_base: Callable[..., Path],
    train: Callable[..., Any],
    reference: Callable[..., Any],
    merge: Callable[..., Any],
    load_merged: Callable[..., Any],
    compare: Callable[..., Any],
    count_differing: Callable[..., tuple[int, int]],
) -> None:
    trained = train(quantised_base(bits, dtype, double_quant))
    wanted = reference(trained)
    folder, result = merge(trained)
    merged = load_merged(folder)
    figures = compare(wanted.logits, merged.logits)
    print(f"stored in {bits} bits, {dtype}: {figures}")
    assert result["quantization"]["source"] == "the base is stored quantised"
    assert figures.within("float16"), figures
    assert count_differing(wanted.weights, merged.weights)[0] == 0


@pytest.mark.parametrize("recorded", ["float16", "bfloat16"])
def test_a_stored_base_is_dequantised_to_the_dtype_that_training_recorded(
    recorded: str, quantised_base: Callable[..., Path], train: Callable[..., Any]
) -> None:
    """Unsloth on a GPU puts its compute dtype into the stored state, which here is of bfloat16."""
    import bitsandbytes.functional as bnb
    import torch
    from safetensors.torch import load_file

    trained = train(quantised_base(4, "bfloat16"))
    name = "model.layers.0.mlp.up_proj.weight"
    tensors = load_file(trained.base / "model.safetensors")
    parts = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
    state = bnb.QuantState.from_dict(parts, device=torch.device("cpu"))
    state.dtype = getattr(torch, recorded)
    wanted = bnb.dequantize_4bit(tensors[name], state)
    record = {"version": 1, "quant_type": "nf4", "load_dtype": recorded, "quantized_modules": [name[: -len(".weight")]]}
    request = {"out": "", "base": str(trained.base), "adapter": str(trained.adapter), "record": record, "device": "cpu"}
    source = next(o.source for o in job.Merge(decode(MergeRequest, request)).outline.outputs if o.name == name)
    rows = source.open([], lambda call, ranges: [], torch.device("cpu"))
    found = rows.block(0, wanted.shape[0], nf4.Scratch(wanted.numel()))
    assert torch.equal(found.view_as(wanted), wanted.float())


def test_the_rule_for_a_bare_adapter_is_qlora(
    make_base: Callable[..., Any], train: Callable[..., Any], merge: Callable[..., Any]
) -> None:
    trained = train(make_base())
    recorded, _ = merge(trained)
    trained.record = None
    assumed, result = merge(trained, name="assumed")
    assert result["quantization"]["source"].startswith("assumed: nf4, double quantisation, block 64, 14 matrices")
    shard = "model-00001-of-00001.safetensors"
    assert (assumed / shard).read_bytes() == (recorded / shard).read_bytes()


@pytest.mark.parametrize(("quantized", "quant"), [("int8", "int8"), ("none", None)])
def test_the_rule_can_be_overruled(
    quantized: str,
    quant: str | None,
    make_base: Callable[..., Any],
    train: Callable[..., Any],
    merge: Callable[..., Any],
) -> None:
    trained = train(make_base(), quant=quant)
    recorded, _ = merge(trained)
    trained.record = None
    asked, result = merge(trained, name="asked", quantized=quantized)
    assert f"asked for ({quantized})" in result["quantization"]["source"]
    shard = "model-00001-of-00001.safetensors"
    assert (asked / shard).read_bytes() == (recorded / shard).read_bytes()


@pytest.mark.parametrize("family", ["mixtral", "qwen2_moe", "gemma2", "qwen2-tied"])
def test_the_rule_names_what_transformers_quantises(
    family: str, make_base: Callable[..., Any], train: Callable[..., Any], merge: Callable[..., Any]
) -> None:
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    trained = train(make_base(family), target_modules=["q_proj"])
    model = AutoModelForCausalLM.from_pretrained(
        trained.base, quantization_config=BitsAndBytesConfig(load_in_4bit=True), dtype="auto"
    )
    linears = {name for name, module in model.named_modules() if type(module).__name__ == "Linear4bit"}
    trained.record = None
    request = {"out": "", "base": str(trained.base), "adapter": str(trained.adapter), "device": "cpu"}
    quantization = job.Merge(decode(MergeRequest, request)).quantization
    assert {name.removesuffix(".weight") for name in quantization.tensors} == linears


def test_experts_count_as_quantised_when_the_adapter_names_them_singly(
    make_base: Callable[..., Any], train: Callable[..., Any]
) -> None:
    import json

    import torch
    from safetensors.torch import save_file

    trained = train(make_base("mixtral"), target_modules=["q_proj"])
    name = "base_model.model.model.layers.{}.block_sparse_moe.experts.{}.w1.lora_{}.weight"
    save_file(
        {
            name.format(layer, expert, part): torch.ones((8, 128) if part == "A" else (192, 8))
            for layer in range(2)
            for expert in range(4)
            for part in "AB"
        },
        trained.adapter / "adapter_model.safetensors",
    )
    config = json.loads((trained.adapter / "adapter_config.json").read_text())
    (trained.adapter / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["w1"]}))
    request = {"out": "", "base": str(trained.base), "adapter": str(trained.adapter), "device": "cpu"}
    tensors = job.Merge(decode(MergeRequest, request)).quantization.tensors
    assert "model.layers.0.block_sparse_moe.experts.3.w2.weight" in tensors
    assert not any("gate.weight" in tensor for tensor in tensors)
