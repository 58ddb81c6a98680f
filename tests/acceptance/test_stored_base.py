"""Axolotl's LoRA kernels on a base that is stored in NF4: what QL512 and the plan are built on, run on a CPU.

Real: bitsandbytes' packing and loading of the tiny base, PEFT's adapter, and the autograd functions of axolotl 0.19's
kernels/lora.py. Stood in for: SwiGLU's Triton kernel, by torch; CUDA's autocast, by the CPU's around both passes; and
single for double quantisation, whose dequantisation calls CUDA (both give the dtype of the quantisation state).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from launcher.catalog import Stored, load_model
from launcher.resources import resource

pytestmark = pytest.mark.acceptance

SCRIPT = """
import json, sys
import torch
from axolotl.kernels import lora
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

def gate(e, g):
    return torch.nn.functional.silu(e) * g

def gate_backward(d, e, g):
    return gate(e, g), d * g, d * e  # only the dtypes matter here

lora.swiglu_forward, lora.swiglu_backward = gate, gate_backward
tiny, folder = sys.argv[1:]

def ends(kernel, module, dtype):
    rows = torch.randn(1, 4, 128, dtype=dtype, requires_grad=True)
    try:
        with torch.autocast("cpu", dtype=dtype):
            out = kernel(module, rows)
            sum(part.float().sum() for part in (out if isinstance(out, tuple) else (out,))).backward()
        return "trains"
    except RuntimeError as error:
        return str(error)

result = {}
for stored in ("bfloat16", "float16"):
    quantised = BitsAndBytesConfig(load_in_4bit=True, bnb_4bit_quant_type="nf4")
    model = AutoModelForCausalLM.from_pretrained(tiny, dtype=getattr(torch, stored), quantization_config=quantised)
    model.save_pretrained(f"{folder}/{stored}")
    for compute in ("bfloat16", "float16"):
        dtype = getattr(torch, compute)
        loaded = AutoModelForCausalLM.from_pretrained(f"{folder}/{stored}", dtype=dtype)
        model = get_peft_model(loaded, LoraConfig(r=4, target_modules="all-linear"))
        layer = model.base_model.model.model.layers[0]
        result[f"{stored} in {compute}"] = {
            "state": str(layer.self_attn.q_proj.weight.quant_state.dtype),
            "lora_qkv_kernel": ends(lora.apply_lora_qkv, layer.self_attn, dtype),
            "lora_mlp_kernel": ends(lora.apply_lora_mlp_swiglu, layer.mlp, dtype),
            "lora_o_kernel": ends(lora.apply_lora_o, layer.self_attn, dtype),
            "no kernel": ends(lambda module, rows: module(rows), layer.self_attn.q_proj, dtype),
        }
print(json.dumps(result))
"""
MIXED = "self and mat2 must have the same dtype, but got"


def test_the_kernels_fail_where_the_stored_dtype_is_not_the_compute_dtype(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(resource("presets", "models", "cpu-tiny")), str(tmp_path)]
    ran = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout.splitlines()[-1])
    for stored in ("bfloat16", "float16"):
        assert load_model(str(tmp_path / stored)).stored == Stored("nf4", False, stored)  # type: ignore[arg-type]
        for compute in ("bfloat16", "float16"):
            case = found[f"{stored} in {compute}"]
            assert case["state"] == f"torch.{stored}", "loading for another dtype leaves it"
            assert case["lora_o_kernel"] == case["no kernel"] == "trains"
            for kernel in ("lora_qkv_kernel", "lora_mlp_kernel"):
                assert case[kernel].startswith(MIXED if stored != compute else "trains"), case
