"""`ql estimate` for every preset, model and way of asking; the predictions for each committed measurement."""

from __future__ import annotations

import json

from net.models import write_models
from net.plans import METHODS, TRAINERS, presets
from net.sizing import predictions
from net.store import Cases
from net.work import ROOT, Work, under

OPTIONS: dict[str, tuple[str, ...]] = {
    "longer": ("--preset", "a10g-7b", "--seq-len", "4096"),
    "one row at a time": ("--preset", "a10g-7b", "--micro-batch", "1"),
    "more memory": ("--preset", "a10g-7b", "--vram", "40"),
    "little memory": ("--model", "llama-3.1-8b", "--vram", "6"),
    "a card of its own": ("--model", "llama-3.1-8b", "--vram", "24", "--tflops", "100", "--bandwidth", "800"),
    "rows": ("--preset", "a10g-7b", "--rows", "50000", "--row-tokens", "700", "--golden-rows", "200"),
    "price": ("--preset", "h100-70b", "--rows", "10000", "--row-tokens", "400", "--price", "2"),
    "settings": ("--preset", "4090-8b", "--set", "packing=true", "--set", "lora_r=64", "--max-steps", "100"),
    "float16": ("--preset", "a10g-7b", "--compute-dtype", "float16"),
    "numbers": (
        "--gpu", "a10g", "--architecture",
        "hidden_size=2048,intermediate_size=5632,num_layers=22,num_attention_heads=32,vocab_size=32000",
    ),
}  # fmt: skip


def cases(work: Work) -> Cases:
    found: Cases = {}
    for preset in presets()[:: work.every]:
        for trainer in TRAINERS:
            for method in METHODS:
                words = ("--preset", preset, "--backend", trainer, "--method", method, "--json")
                found[f"{preset} {trainer} {method}"] = work.ql("estimate", *words)
        data = ("--preset", preset, "--data", "few.jsonl", "--golden-rows", "120", "--price", "1")
        found[f"{preset} with data"] = under("json", work.ql("estimate", *data, "--json")) | under(
            "text", work.ql("estimate", *data)
        )
        found[f"{preset} compared"] = work.ql("estimate", "--preset", preset, "--compare", "--json")
    for name, options in OPTIONS.items():
        found[name] = under("json", work.ql("estimate", *options, "--json")) | under(
            "text", work.ql("estimate", *options)
        )
    for path in sorted((ROOT / "presets" / "models").glob("*.yaml")):
        words = ("--model", path.stem, "--rows", "1000", "--row-tokens", "300", "--compare")
        found[f"{path.stem} compared in words"] = work.ql("estimate", *words)
    for model in write_models(work):
        found[f"{model} compared"] = work.ql("estimate", "--model", model, "--compare", "--json")
    for name, facts in predictions().items():
        found[name] = {"prediction": json.dumps(facts, indent=1) + "\n"}
    return found
