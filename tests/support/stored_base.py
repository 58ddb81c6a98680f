"""A base folder as bitsandbytes stores one, without its library: a config.json, and a shard with one layer's state."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

LLAMA: dict[str, Any] = {
    "model_type": "llama", "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32,
    "num_attention_heads": 32, "vocab_size": 32000, "max_position_embeddings": 4096,
}  # fmt: skip
QUANTISED = {
    "quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4",
    "bnb_4bit_use_double_quant": True, "bnb_4bit_compute_dtype": "float32",
}  # fmt: skip


def write_stored_base(
    folder: Path, dtype: str | None, *, kind: str = "nf4", config: dict[str, Any] | None = None
) -> Path:
    """``dtype`` is that of the layer's state; None leaves the weights out."""
    folder.mkdir(parents=True)
    said = LLAMA | {"quantization_config": QUANTISED | {"bnb_4bit_quant_type": kind}} | (config or {})
    (folder / "config.json").write_text(json.dumps(said))
    if dtype is not None:
        state = json.dumps({"quant_type": kind, "blocksize": 64, "dtype": dtype, "shape": [8, 8]}).encode()
        codes = bytes(32)
        header = {
            "__metadata__": {"format": "pt"},
            "q_proj.weight": {"dtype": "U8", "shape": [32, 1], "data_offsets": [0, 32]},
            f"q_proj.weight.quant_state.bitsandbytes__{kind}": {
                "dtype": "U8", "shape": [len(state)], "data_offsets": [32, 32 + len(state)],
            },
        }  # fmt: skip
        text = json.dumps(header).encode()
        (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + codes + state)
    return folder
