"""What peers predict for the measured cases, written to peers.json.

    python benchmarks/sizing/peers.py soup-cli        in an environment with soup-cli 0.77 (pip install --no-deps does)
    python benchmarks/sizing/peers.py accelerate      in one with accelerate and transformers

soup-cli: the total of `soup profile`. accelerate: the largest figure of `accelerate estimate-memory` for these weights,
which counts nothing else; that command asks the hub, so its own functions are called with a model of the same shape.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from launcher.catalog import load_model

HERE = Path(__file__).resolve().parent
GIB = 2**30


def cases() -> dict[str, dict[str, Any]]:
    found = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "results").glob("*.json"))}
    return {name: case for name, case in found.items() if "layers" not in case}


def soup(case: dict[str, Any]) -> float:
    """GiB. The tool prints GB and mixes powers of ten and of two: its figure is taken as GiB, which favours it."""
    from soup_cli.utils.profiler import estimate_total

    model, plan, shape = load_model(case["model"]), case["plan"], case["shape"]
    found = estimate_total(
        model.name,
        model.parameters / 1e9,
        "4bit" if case["method"] == "qlora" else "none",
        plan["lora_r"],
        32,
        shape["micro_batch_size"],
        shape["sequence_len"],
        plan["optimizer"],
        plan["gradient_checkpointing"],
    )
    return float(found["total_memory_gb"])


SIZES: dict[str, int] = {}


def accelerate(case: dict[str, Any]) -> float:
    if case["model"] not in SIZES:
        from accelerate import init_empty_weights
        from accelerate.utils import calculate_maximum_sizes
        from transformers import AutoConfig, AutoModelForCausalLM

        model = load_model(case["model"])
        values = {
            "vocab_size": model.vocab_size,
            "hidden_size": model.hidden_size,
            "intermediate_size": model.intermediate_size,
            "num_hidden_layers": model.num_layers,
            "num_attention_heads": model.num_attention_heads,
            "num_key_value_heads": model.num_key_value_heads,
            "tie_word_embeddings": False,
        }
        with init_empty_weights():
            empty = AutoModelForCausalLM.from_config(AutoConfig.for_model(model.model_type, **values))
        SIZES[case["model"]] = calculate_maximum_sizes(empty)[0]
    return SIZES[case["model"]] / (8 if case["method"] == "qlora" else 2) / GIB


if __name__ == "__main__":
    peer = sys.argv[1]
    predict = {"soup-cli": soup, "accelerate": accelerate}[peer]
    path = HERE / "peers.json"
    known = json.loads(path.read_text()) if path.exists() else {}
    known[peer] = {name: round(predict(case), 3) for name, case in cases().items()}
    path.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n")
    print(peer, len(known[peer]), "cases")
