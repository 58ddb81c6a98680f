from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.resources import resource

LAYERS = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
MLP = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")


@pytest.fixture(scope="session")
def tiny() -> Path:
    """The tiny Llama that ql ships."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    return resource("presets", "models", "cpu-tiny")


@pytest.fixture(scope="session")
def template() -> Path:
    return resource("templates", "chat", "chatml.jinja")


@pytest.fixture(scope="session")
def record() -> dict[str, Any]:
    """quantization.json of a QLoRA run on the tiny Llama."""
    return {
        "version": 1,
        "method": "qlora",
        "quant_type": "nf4",
        "double_quant": True,
        "block_size": 64,
        "load_dtype": "bfloat16",
        "storage_dtype": "uint8",
        "quantized_modules": [f"model.layers.{layer}.{name}" for layer in range(4) for name in LAYERS + MLP],
        "skipped_modules": ["lm_head"],
    }


@pytest.fixture(scope="session")
def adapter(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An adapter with random weights, large enough to change what the model says, and its tokenizer."""
    torch = pytest.importorskip("torch")
    peft = pytest.importorskip("peft")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("adapter")
    torch.manual_seed(1)
    base = AutoModelForCausalLM.from_pretrained(tiny, dtype=torch.float32)
    config = peft.LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    model = peft.get_peft_model(base, config)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.5)
    model.save_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.eos_token = "<|im_end|>"  # as a run with the template chatml saves it
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture
def request_for(
    tiny: Path, adapter: Path, template: Path, record: dict[str, Any], tmp_path: Path
) -> Callable[..., dict[str, Any]]:
    """A request to the worker job golden, about the first rows of the example golden set."""

    def make(*subjects: str, rows: int = 6, **changes: Any) -> dict[str, Any]:
        golden = resource("examples", "golden.jsonl").read_text("utf-8").splitlines()[:rows]
        prompts = [json.loads(line) for line in golden]
        return {
            "subjects": list(subjects),
            "outputs": {subject: str(tmp_path / "outputs" / f"{subject}.jsonl") for subject in subjects},
            "base": str(tiny),
            "adapter": str(adapter),
            "merged": str(tiny),
            "tokenizer": str(adapter),
            "quantization": record,
            "compute_dtype": "float32",
            "device": "cpu",
            "prompts": [{"id": row["id"], "messages": [{"role": "user", "content": row["input"]}]} for row in prompts],
            "answers": [row["target"] for row in prompts],
            "chat_template": str(template),
            "max_new_tokens": 24,
            "batch_size": 4,
            "shrink": True,
            **changes,
        }

    return make
