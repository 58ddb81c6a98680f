"""Model folders without weights, which plans are made for: a small Llama with a tokenizer, and a Gemma's numbers."""

from __future__ import annotations

import json
import shutil

from net.work import ROOT, Work

LLAMA = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 2048, "intermediate_size": 5632,
    "num_hidden_layers": 22, "num_attention_heads": 32, "num_key_value_heads": 4, "vocab_size": 32000,
    "max_position_embeddings": 2048, "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
GEMMA = {
    "model_type": "gemma2", "hidden_size": 2304, "intermediate_size": 9216, "num_hidden_layers": 26,
    "num_attention_heads": 8, "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 256000,
    "max_position_embeddings": 8192,
}  # fmt: skip
MIXTRAL = LLAMA | {"model_type": "mixtral", "num_local_experts": 8, "num_experts_per_tok": 2}
STORED = LLAMA | {
    "quantization_config": {
        "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
        "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "float16",
    }
}  # fmt: skip
MODELS = {"llama": LLAMA, "gemma": GEMMA, "mixtral": MIXTRAL, "stored": STORED}


def write_models(work: Work) -> list[str]:
    """Make the folders; their names as an option takes them."""
    for name, config in MODELS.items():
        work.write(f"models/{name}/config.json", json.dumps(config))
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(ROOT / "presets" / "models" / "cpu-tiny" / file, work.folder / "models" / name / file)
    return [f"./models/{name}" for name in MODELS]
