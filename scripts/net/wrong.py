"""Wrong inputs, over all verbs: what is said of them, and the exit code. None of them starts a trainer."""

from __future__ import annotations

import json
from collections.abc import Iterator

from net.store import Cases
from net.work import Work

GOOD = '{"messages": [{"role": "user", "content": "Is it on?"}, {"role": "assistant", "content": "Yes."}]}'
CPU = ("--preset", "cpu-tiny")
DRY = ("launch", "--dry-run", *CPU)
FEW = ("--data", "few.jsonl")

# Files by name: the inputs that are wrong.
FILES: dict[str, str] = {
    "bad/empty.jsonl": "",
    "bad/not-json.jsonl": f"{GOOD}\n{{not json\n{GOOD}\n",
    "bad/no-answer.jsonl": f'{GOOD}\n{{"messages": [{{"role": "user", "content": "alone"}}]}}\n',
    "bad/roles.jsonl": '{"messages": [{"role": "wizard", "content": "x"}, {"role": "assistant", "content": "y"}]}\n',
    "bad/list.jsonl": "[1, 2]\n",
    "bad/mixed.jsonl": f'{GOOD}\n{{"instruction": "a", "output": "b"}}\n{{"text": "c"}}\n',
    "bad/keys.jsonl": '{"question": "a", "reply": "b"}\n',
    "bad/number.jsonl": '{"prompt": 3, "completion": "b"}\n',
    "bad/golden.jsonl": '{"input": "x"}\n{"target": "y"}\n{"input": "x", "target": 3}\n',
    "bad/golden-empty.jsonl": "",
    "bad/overlap.jsonl": '{"input": "Is it on?", "target": "Yes."}\n',
    "bad/good.jsonl": f"{GOOD}\n" * 12,
    "bad/job.yaml": "preset: a10g-7\ndata: few.jsonl\n",
    "bad/job-key.yaml": "preset: a10g-7b\ndatas: few.jsonl\ngates: exact_match>=1\n",
    "bad/job-both.yaml": "preset: a10g-7b\ndata: few.jsonl\nmethod: lora\nsettings: {method: qlora}\n",
    "bad/job-list.yaml": "- a\n- b\n",
    "bad/job-text.yaml": "preset: [a\n",
    "bad/config.yaml": "base_model: x\nadapter: qlora\n",
    "bad/tabs.yaml": "base_model: x\n\tadapter: qlora\n",
    "bad/twice.yaml": "base_model: x\nbase_model: y\n",
    "bad/other.yaml": "a: 1\nb: 2\n",
    "bad/preset.yaml": "title: x\ngpu: a10g\nmodel: nope\nrecipe: qlora\nsettings: {lora_r: x}\n",
    "bad/gpu.yaml": "title: x\ncompute_capability: 8\nvram_gib: lots\n",
    "bad/empty.yaml": "",
    "bad/model/config.json": '{"model_type": "llama"}',
    "bad/strange/config.json": '{"model_type": "resnet", "hidden_size": 4}',
    "bad/broken/config.json": "{",
    "bad/adapter/adapter_config.json": "{}",
    "bad/run/run.json": '{"version": 1, "state": "finished"}',
    "bad/run-newer/run.json": '{"version": 99}',
    "bad/run-text/run.json": "not JSON",
    "bad/merged/merge.json": "{}",
}
# Command lines by what is wrong with them.
NAMES: tuple[tuple[str, ...], ...] = (
    (),
    ("trian",),
    ("help",),
    ("--versoin",),
    ("presets", "a10g-7"),
    ("presets", "a10g-7b", "--preset", "h100-7b"),
    ("presets", "nothing-like-it"),
    ("presets", "--gpu", "a10"),
    ("presets", "--gpu", "a10g", "--model", "mistral-7"),
    ("presets", "a10g-7b", "--backend", "axolot"),
    ("presets", "a10g-7b", "--method", "qlor"),
    ("presets", "a10g-7b", "--compute-dtype", "int8"),
    ("presets", "a10g-7b", "--lora-r", "8"),
    ("presets", "a10g-7b", "--nonsense"),
    ("presets", "--json", "a10g-7"),
    ("presets", "--model", "mistral-7b"),
)
SETTINGS: tuple[str, ...] = (
    "learning_rat=1", "lr=1e-4", "lora_r=sixteen", "lora_r=0", "lora_r", "=3", "lora_r=", "epochs=2",
    "method=full", "backend=trl", "kernels=lora", "kernels=[flash]", "quant_type=nf5", "sequence_len=8",
    "learning_rate=2", "eval_fraction=0.9", "optimizer=sgd", "max_steps=0", "warmup_steps=10", "double_quant=maybe",
    "chat_template=nope", "lora_target_modules=[]", "reasons=x", "on_cpu=true", "base_model=x", "seed=-1",
    "keep=all", "sequence_len=1000000", "attn_implementation=flash", "packing=2",
)  # fmt: skip
TOGETHER: tuple[tuple[str, ...], ...] = (
    ("--set", "lora_r=8", "--set", "lora_r=16"),
    ("--set", "micro_batch_size=3", "--set", "effective_batch_size=16"),
    ("--set", "micro_batch_size=4", "--set", "gradient_accumulation_steps=2", "--set", "effective_batch_size=16"),
    ("--set", "activation_offload=true", "--set", "gradient_checkpointing=false"),
    ("--method", "lora", "--set", "quant_type=nf4"),
    ("--method", "lora", "--set", "method=qlora"),
    ("--max-steps", "5", "--set", "max_steps=6"),
    ("--compute-dtype", "float16", "--set", "compute_dtype=bfloat16"),
    ("--backend", "unsloth", "--set", "backend=axolotl"),
    ("--backend", "unsloth", "--set", "kernels=[lora]"),
    ("--set", "a=1", "--set", "b=2", "--set", "lora_r=x"),
    ("--max-steps", "0"),
    ("--gpu", "", "--model", ""),
    ("--gpu", "t4", "--compute-dtype", "bfloat16"),
    ("--gpu", "t4", "--set", "attn_implementation=flash_attention_2"),
    ("--set", "keep=best", "--set", "eval_fraction=0"),
)
LAUNCHES: tuple[tuple[str, ...], ...] = (
    ("launch",),
    ("launch", *CPU),
    (*DRY, "--data", "nowhere.jsonl"),
    (*DRY, "--data", "bad"),
    *((*DRY, "--data", name) for name in FILES if name.endswith(".jsonl") and "golden" not in name),
    (*DRY, *FEW, "--gate", "exact_match>=0.8"),
    (*DRY, *FEW, "--golden", "golden.jsonl", "--gate", "exact_mach>=0.8"),
    (*DRY, *FEW, "--golden", "golden.jsonl", "--gate", "exact_match>0.8"),
    (*DRY, *FEW, "--golden", "golden.jsonl", "--gate", "exact_match>=merged", "--no-merge"),
    (*DRY, *FEW, "--golden", "bad/golden.jsonl"),
    (*DRY, *FEW, "--golden", "bad/golden-empty.jsonl"),
    (*DRY, *FEW, "--golden", "nowhere.jsonl"),
    (*DRY, "--data", "bad/good.jsonl", "--golden", "bad/overlap.jsonl"),
    (*DRY, "--data", "bad/not-json.jsonl", "--golden", "bad/golden.jsonl"),
    (*DRY, *FEW, "--price", "nan"),
    (*DRY, *FEW, "--price", "-1"),
    (*DRY, *FEW, "--track", "neptune"),
    (*DRY, *FEW, "--keep", "first"),
    (*DRY, *FEW, "--base", "merged"),
    (*DRY, *FEW, "--no-repair", "nothing"),
    (*DRY, *FEW, "--model", "./bad/model"),
    (*DRY, *FEW, "--model", "./bad/strange"),
    (*DRY, *FEW, "--model", "./bad/broken"),
    (*DRY, *FEW, "--model", "./bad/adapter"),
    (*DRY, *FEW, "--model", "./bad"),
    (*DRY, *FEW, "--model", "./nowhere"),
    (*DRY, *FEW, "--model", "llama-3-8b"),
    ("launch", "--dry-run", "--preset", "a10g-7b", "--model", "llama-2-70b", *FEW),
    ("launch", "--dry-run", "--gpu", "t4", "--model", "llama-2-70b", "--method", "lora", *FEW),
    ("launch", "--dry-run", "--gpu", "a10g", *FEW),
    ("launch", "--dry-run", "--model", "mistral-7b", *FEW),
    ("launch", "--dry-run", "--preset", "a10g-7", *FEW),
    ("launch", *CPU, *FEW, "--trainer-python", "/no/such/python"),
    ("launch", *CPU, *FEW, "--trainer-python", "no-such-python"),
    ("launch", *CPU, *FEW, "--backend", "unsloth", "--trainer-python", "/no/such/python"),
    ("launch", *CPU, *FEW, "--runs-dir", "few.jsonl/runs"),
    ("launch", *CPU, *FEW, "--stall-after", "0"),
    *(("launch", f"bad/{name}.yaml", "--dry-run") for name in ("job", "job-key", "job-both", "job-list", "job-text")),
    ("launch", "bad/config.yaml", "--dry-run"),
    ("launch", "few.jsonl", "--dry-run"),
    ("launch", "nowhere.yaml", "--dry-run"),
    *((*DRY, "--config", f"bad/{name}.yaml") for name in ("config", "tabs", "twice", "other", "empty", "job")),
    (*DRY, "--config", "nowhere.yaml"),
    ("launch", "--dry-run", "--config", "bad/config.yaml"),
    ("export", *CPU),
    ("export", *CPU, "--data", "nowhere.jsonl"),
    ("export", *CPU, "--data", "bad/empty.jsonl", "-o", "out"),
    ("export", *CPU, *FEW, "-o", "few.jsonl"),
    ("export", *CPU, *FEW, "-o", "few.jsonl/out"),
    ("init", "--data", "nowhere.jsonl", "--yes"),
    ("init", "--data", "bad/empty.jsonl", "--gpu", "a10g", "--yes"),
    ("init", "--data", "few.jsonl", "--gpu", "a10", "--yes"),
    ("init", "--data", "few.jsonl", "--preset", "t4-70b", "--yes"),
)
REST: tuple[tuple[str, ...], ...] = (
    ("estimate",),
    ("estimate", "--gpu", "a10g"),
    ("estimate", "--preset", "a10g-7b", "--rows", "10"),
    ("estimate", "--preset", "a10g-7b", "--rows", "10", "--row-tokens", "5", *FEW),
    ("estimate", "--preset", "a10g-7b", "--tflops", "10"),
    ("estimate", "--preset", "a10g-7b", "--tflops", "10", "--bandwidth", "10"),
    ("estimate", "--preset", "a10g-7b", "--compare", "--vram", "24"),
    ("estimate", "--preset", "a10g-7b", "--vram", "inf"),
    ("estimate", "--preset", "a10g-7b", "--seq-len", "4"),
    ("estimate", "--preset", "a10g-7b", "--seq-len", "512", "--set", "sequence_len=1024"),
    ("estimate", "--gpu", "a10g", "--architecture", "hidden_size=4"),
    ("estimate", "--gpu", "a10g", "--architecture", "hidden=4,layers=x"),
    ("estimate", "--gpu", "a10g", "--model", "mistral-7b", "--architecture", "hidden_size=4"),
    ("estimate", "--gpu", "t4", "--model", "llama-2-70b", "--json"),
    ("estimate", "--model", "qwen2.5-72b", "--method", "lora", "--compare", "--set", "sequence_len=32768"),
    ("check",),
    ("check", "nowhere.jsonl"),
    *(("check", name) for name in FILES if name.endswith(".jsonl")),
    ("check", "bad/not-json.jsonl", "--json"),
    ("check", "few.jsonl", "--golden", "bad/golden.jsonl"),
    ("check", "bad/good.jsonl", "--golden", "bad/overlap.jsonl"),
    ("check", "few.jsonl", "--chat-template", "nope"),
    ("check", "few.jsonl", "--model", "nope"),
    ("check", "few.jsonl", "--show", "-1"),
    ("validate",),
    ("validate", "nowhere.yaml"),
    ("validate", "*.yaml"),
    ("validate", ".home"),
    *(("validate", name) for name in FILES if name.endswith((".yaml", "run.json"))),
    ("validate", "bad/golden.jsonl"),
    ("validate", "bad/golden.jsonl", "--kind", "golden"),
    ("validate", "bad/config.yaml", "--gpu", "a10"),
    ("validate", "bad/config.yaml", "--axolotl-version", "0.3"),
    ("validate", "bad/config.yaml", "--kind", "trl"),
    ("validate", "bad/config.yaml", "--select", "XX1"),
    ("validate", "bad/config.yaml", "--ignore", "QL999"),
    ("validate", "bad/config.yaml", "--golden", "nowhere.jsonl"),
    ("validate", "bad/config.yaml", "--format", "xml"),
    ("validate", "--explain", "QL999"),
    ("validate", "--explain", "XX1"),
    ("calibrate", "--trainer-python", "/no/such/python"),
    ("calibrate", "--gpu", "a10", "--forget"),
    ("calibrate", "--forget"),
    ("doctor", "--trainer-python", "/no/such/python"),
    ("completion", "tcsh"),
    ("merge",),
    ("merge", "--base", "bad/model"),
    ("merge", "--check", "bad/merged"),
    ("merge", "--check", "nowhere"),
    ("merge", "--base", "bad/model", "--adapter", "bad/adapter", "--out", "o", "--trainer-python", "/no/such/python"),
    ("merge", "--base", "bad/model", "--adapter", "bad/adapter", "--out", "o", "--record", "nowhere.json"),
    ("merge", "latest", "--dtype", "float32"),
)
RUN_VERBS: tuple[tuple[str, ...], ...] = (
    ("runs", "RUN"),
    ("resume", "RUN"),
    ("report", "RUN"),
    ("compare", "RUN", "RUN"),
    ("eval", "RUN", "--golden", "golden.jsonl"),
    ("merge", "RUN"),
    ("chat", "RUN", "--prompt", "x"),
    ("serve", "RUN", "--print"),
    ("push", "RUN", "--repo", "me/x", "--dry-run"),
)
RUNS = ("nowhere", "latest", "bad/run", "bad/run-newer", "bad/run-text", "bad", "few.jsonl")


def cases(work: Work) -> Cases:
    found: Cases = {}
    for argv in _all():
        for name, text in FILES.items():
            work.write(name, text)
        work.clear("out")
        found[" ".join(["ql", *map(json.dumps, argv)])] = work.ql(*argv)
    return found


def _all() -> Iterator[tuple[str, ...]]:
    yield from NAMES
    for setting in SETTINGS:
        yield ("presets", "a10g-7b", "--set", setting)
        yield ("presets", "a10g-7b", "--backend", "unsloth", "--set", setting)
    for words in TOGETHER:
        yield ("presets", "a10g-7b", *words)
    yield from LAUNCHES
    yield from REST
    for verb in RUN_VERBS:
        yield verb[:1]
        for run in RUNS:
            yield tuple(run if word == "RUN" else word for word in verb)
    yield ("push", "bad/run", "--repo", "no-owner")
    yield ("runs", "--follow")
    yield ("runs",)
    yield ("runs", "--runs-dir", "bad")
    yield ("runs", "--runs-dir", "few.jsonl")
