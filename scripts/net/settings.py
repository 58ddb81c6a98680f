"""Plans and configs with single values set, for models in a folder, from job files: dry runs with both trainers."""

from __future__ import annotations

import itertools

from net.models import write_models
from net.plans import TRAINERS, launch, one
from net.store import Cases
from net.work import ROOT, Work, under, unfold

# One value of each setting, beside the usual one.
SETTINGS: tuple[str, ...] = (
    "quant_type=fp4", "double_quant=false", "lora_r=8", "lora_r=64", "lora_alpha=16", "lora_dropout=0.05",
    "lora_target_modules=[q_proj,v_proj]", "sequence_len=512", "sequence_len=4096", "excess_length=drop",
    "excess_length=raise", "packing=true", "packing=false", "effective_batch_size=32", "micro_batch_size=1",
    "micro_batch_size=4", "gradient_accumulation_steps=4", "eval_batch_size=1", "num_epochs=1", "num_epochs=2.5",
    "max_steps=10", "learning_rate=1e-4", "lr_scheduler=linear", "lr_scheduler=constant_with_warmup",
    "warmup_ratio=0.1", "weight_decay=0.01", "max_grad_norm=1", "optimizer=adamw_torch", "optimizer=paged_adamw_32bit",
    "optimizer=adamw_bnb_8bit", "eval_fraction=0", "eval_fraction=0.2", "evals_per_epoch=2", "keep=last",
    "logging_steps=10", "attn_implementation=eager", "attn_implementation=flash_attention_2",
    "gradient_checkpointing=false", "activation_offload=true", "kernels=[]", "kernels=[liger]", "kernels=[lora]",
    "chat_template=llama3", "chat_template=inst", "chat_template=gemma", "chat_template=tokenizer", "seed=7",
    "compute_dtype=float16",
)  # fmt: skip
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("sequence_len=1024", "micro_batch_size=2", "effective_batch_size=16", "num_epochs=2"),
    ("micro_batch_size=3", "gradient_accumulation_steps=5", "effective_batch_size=15"),
    ("learning_rate=5e-5", "warmup_ratio=0", "weight_decay=0.1", "max_grad_norm=0.5", "lr_scheduler=constant"),
    ("packing=true", "sequence_len=4096", "attn_implementation=flash_attention_2"),
    ("gradient_checkpointing=true", "activation_offload=true", "micro_batch_size=8", "kernels=[lora,liger]"),
    ("lora_r=128", "lora_alpha=256", "lora_dropout=0.1", "lora_target_modules=[q_proj,k_proj,v_proj,o_proj]"),
    ("eval_fraction=0", "keep=last", "max_steps=5", "logging_steps=1"),
)
PRESETS = ("a10g-7b", "h100-8b")
OPTIONS: dict[str, tuple[str, ...]] = {
    "float16": ("--compute-dtype", "float16"),
    "bfloat16": ("--compute-dtype", "bfloat16"),
    "few steps": ("--max-steps", "20"),
    "last": ("--keep", "last"),
    "price": ("--price", "2.5"),
    "free": ("--price", "0"),
    "no merge": ("--no-merge",),
    "original": ("--base", "original"),
    "golden": ("--golden", "golden.jsonl"),
    "gates": ("--golden", "golden.jsonl", "--gate", "exact_match>=base", "--gate", "chrf>=0.5"),
    "tracked": ("--track", "tensorboard"),
    "all": ("--max-steps", "20", "--keep", "last", "--price", "1", "--compute-dtype", "bfloat16", "--no-merge"),
}
CARDS: tuple[tuple[str, ...], ...] = (
    ("--gpu", "a10g", "--model", "mistral-7b"),
    ("--gpu", "h200", "--model", "llama-3.1-70b"),
    ("--gpu", "4090", "--model", "gemma-2-9b"),
    ("--gpu", "t4", "--model", "qwen2.5-7b"),
    ("--preset", "a10g-7b", "--model", "llama-3.1-8b"),
    ("--preset", "a10g-7b", "--gpu", "h100"),
    ("--gpu", "l4", "--model", "someone/unknown-7b"),
)
JOBS: dict[str, str] = {
    "plain": "preset: a10g-7b\ndata: few.jsonl\n",
    "full": """\
preset: h100-8b
method: lora
backend: unsloth
data: few.jsonl
golden: golden.jsonl
gates: ["exact_match>=base"]
settings:
  sequence_len: 1024
  learning_rate: 1.0e-4
  keep: last
base_mode: original
""",
    "card and model": "gpu: l40s\nmodel: qwen2.5-14b\ndata: few.jsonl\nmerge: false\n",
}
FORMATS = ("alpaca", "prompt_completion", "sharegpt", "text")


def cases(work: Work) -> Cases:
    found: Cases = {}
    for preset, trainer in itertools.product(PRESETS, TRAINERS):
        words = ("--preset", preset, "--backend", trainer)
        for values in ([(value,) for value in SETTINGS] + list(TOGETHER))[:: work.every]:
            sets = tuple(word for value in values for word in ("--set", value))
            found[f"{preset} {trainer} --set {' '.join(values)}"] = launch(work, (*words, *sets), "few.jsonl")
        for name, more in OPTIONS.items():
            found[f"{preset} {trainer} {name}"] = launch(work, (*words, *more), "few.jsonl")
    models = write_models(work)
    for trainer in TRAINERS:
        for card in CARDS:
            found[f"{trainer} {' '.join(card)}"] = launch(work, (*card, "--backend", trainer), "few.jsonl")
        for model, method in itertools.product(models, ("qlora", "lora")):
            named = ("--gpu", "a10g", "--model", model, "--backend", trainer, "--method", method)
            found[f"{trainer} {method} {model}"] = one(work, named, "few.jsonl")
        for name in FORMATS:
            data = work.write(f"{name}.jsonl", _example(name)).name
            found[f"{trainer} rows of {name}"] = one(work, ("--preset", "cpu-tiny", "--backend", trainer), data)
    for name, text in JOBS.items():
        work.write("job.yaml", text)
        found[f"job {name}"] = unfold(work.ql("launch", "job.yaml", "--dry-run", "--json"))
        more = ("--backend", "axolotl", "--set", "lora_r=8", "--dry-run", "--json")
        found[f"job {name}, and options"] = unfold(work.ql("launch", "job.yaml", *more))
    work.clear("job.yaml").unlink()
    said = work.ql("init", "--data", "few.jsonl", "--golden", "golden.jsonl", "--gpu", "a10g", "--yes")
    found["init"] = said | under("job", {"job.yaml": (work.folder / "job.yaml").read_text(encoding="utf-8")})
    for name in FORMATS:
        found[f"check {name}"] = work.ql("check", f"{name}.jsonl", "--json")
    found["check tickets"] = work.ql("check", "tickets.jsonl", "--golden", "golden.jsonl", "--seq-len", "64")
    found["check shown"] = work.ql("check", "few.jsonl", "--model", "cpu-tiny", "--show", "2")
    return found


def _example(name: str) -> str:
    return (ROOT / "examples" / "formats" / f"{name}.jsonl").read_text(encoding="utf-8")
