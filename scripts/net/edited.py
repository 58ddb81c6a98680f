"""`ql launch --config`: an exported config, edited in one way after the other, and configs that ql did not write."""

from __future__ import annotations

import itertools
import re
import shutil
from pathlib import Path

from net.plans import TRAINERS
from net.store import Cases
from net.work import ROOT, Work, unfold

PRESETS = ("cpu-tiny", "a10g-7b")
# name: (start of the line to replace, the new line); without a start it is added at the end.
BOTH: dict[str, tuple[str, str]] = {
    "as it was": ("", ""),
    "micro batch": ("micro_batch_size:", "micro_batch_size: 2"),
    "accumulation": ("gradient_accumulation_steps:", "gradient_accumulation_steps: 3"),
    "epochs": ("num_epochs:", "num_epochs: 2.5"),
    "rate": ("learning_rate:", "learning_rate: 0.001  # mine"),
    "rate as text": ("learning_rate:", "learning_rate: 1e-3"),
    "rank": ("lora_r:", "lora_r: 4"),
    "dropout": ("lora_dropout:", "lora_dropout: 0.1"),
    "targets": ("lora_target_modules:", "lora_target_modules: [q_proj, v_proj]"),
    "length": ("sequence_len:", "sequence_len: 64"),
    "steps": ("max_steps:", "max_steps: 7"),
    "seed": ("seed:", "seed: 7"),
    "scheduler": ("lr_scheduler:", "lr_scheduler: linear"),
    "optimizer": ("optimizer:", "optimizer: adamw_torch"),
    "no decay": ("weight_decay:", ""),
    "checkpointing": ("gradient_checkpointing:", "gradient_checkpointing: true"),
    "output": ("output_dir:", "output_dir: ./elsewhere"),
    "eval batch": ("eval_batch_size:", "eval_batch_size: 3"),
    "logging": ("logging_steps:", "logging_steps: 5"),
    "text for a number": ("lora_r:", "lora_r: sixteen"),
    "unknown key": ("", "lora_rank: 8"),
    "another base": ("base_model:", "base_model: mistralai/Mistral-7B-v0.3"),
    "no such base": ("base_model:", "base_model: ./nowhere"),
    "not YAML": ("lora_r:", "lora_r: [1"),
}
AXOLOTL: dict[str, tuple[str, str]] = {
    "float16": ("fp16:", "fp16: true"),
    "bfloat16": ("bf16:", "bf16: true"),
    "attention": ("attn_implementation:", "attn_implementation: eager"),
    "kernels": ("lora_mlp_kernel:", "lora_mlp_kernel: true"),
    "split": ("test_datasets:", "val_set_size: 0.1\ntest_datasets:"),
    "warmup steps": ("warmup_ratio:", "warmup_steps: 3"),
    "packing": ("sample_packing:", "sample_packing: true"),
    "evals": ("", "evals_per_epoch: 2"),
    "early stopping": ("", "early_stopping_patience: 3"),
    "more keys": ("", "peft_use_rslora: true\nadam_beta2: 0.95\nneftune_noise_alpha: 5"),
    "liger": ("", "plugins: [axolotl.integrations.liger.LigerPlugin]\nliger_rope: true"),
    "lora": ("adapter:", "adapter: lora\nload_in_8bit: false"),
    "8 bit": ("load_in_4bit:", "load_in_8bit: true"),
    "preferences": ("", "rl: dpo"),
    "deepspeed": ("", "deepspeed: zero2.json"),
    "removed key": ("", "flash_attention: true"),
}
UNSLOTH: dict[str, tuple[str, str]] = {
    "float16": ("compute_dtype:", "compute_dtype: float16"),
    "bfloat16": ("compute_dtype:", "compute_dtype: bfloat16"),
    "16 bit": ("load_in_4bit:", "load_in_4bit: false"),
    "fp4": ("quant_type:", "quant_type: fp4"),
    "single": ("double_quant:", "double_quant: false"),
    "warmup": ("warmup_ratio:", "warmup_ratio: 0.2"),
    "packing": ("packing:", "packing: true"),
    "excess": ("excess_length:", "excess_length: drop"),
    "keep": ("keep:", "keep: last"),
    "no evaluation": ("eval_file:", "eval_file: null"),
    "offload": ("activation_offload:", "activation_offload: true"),
    "interval": ("eval_interval:", "eval_interval: 0.5"),
    "lists": ("train_file:", "train_file: [data/train.jsonl, data/eval.jsonl]"),
}
OTHER_MODEL = ("--model", "llama-2-7b")
FLAGS: dict[str, tuple[str, ...]] = {
    "with data": ("--data", "few.jsonl"),
    "with golden": ("--golden", "golden.jsonl", "--gate", "exact_match>=base"),
    "for a card": ("--gpu", "a10g"),
    "that agree": ("--set", "learning_rate=0.002", "--method", "qlora"),
    "that contradict": ("--set", "learning_rate=1e-5", "--set", "lora_r=8", "--method", "lora", *OTHER_MODEL),
    "of steps": ("--max-steps", "5"),
    "of price": ("--price", "1"),
}
FOREIGN = """\
base_model: {base}
adapter: qlora
load_in_4bit: true
lora_r: 4
lora_alpha: 8
lora_target_linear: true
lora_mlp_kernel: false
lora_qkv_kernel: false
lora_o_kernel: false
lora_embedding_kernel: false
datasets:
{datasets}
{validation}
sequence_len: 128
learning_rate: 2e-4
num_epochs: 2
micro_batch_size: 2
gradient_accumulation_steps: 2
bf16: false
fp16: false
"""
CHAT = "  - path: rows/chat.jsonl\n    type: chat_template\n    field_messages: messages\n"
ALPACA = "  - path: rows/alpaca.jsonl\n    type: alpaca\n"
COMPLETION = "  - path: rows/text.jsonl\n    type: completion\n    field: text\n"
# name: (datasets, what is held out)
LISTS: dict[str, tuple[str, str]] = {
    "chat": (CHAT, "val_set_size: 0.1"),
    "rows held out": (CHAT, "val_set_size: 8"),
    "nothing held out": (CHAT, "val_set_size: 0"),
    "alpaca": (ALPACA, "val_set_size: 0.1"),
    "text": (COMPLETION, "val_set_size: 0.1"),
    "two": (CHAT + ALPACA, "val_set_size: 0.1"),
    "three, and a test set": (CHAT + ALPACA + COMPLETION, f"test_datasets:\n{CHAT}    split: train"),
    "the hub's": (CHAT.replace("rows/chat.jsonl", "tatsu-lab/alpaca"), ""),
    "none": ("  []", ""),
    "missing": (CHAT.replace("chat", "nowhere", 1), "val_set_size: 0.1"),
}


def cases(work: Work) -> Cases:
    found: Cases = {}
    for trainer, preset in itertools.product(TRAINERS, PRESETS):
        exported = work.clear(f"exported-{trainer}-{preset}").name
        work.ql("export", "--preset", preset, "--backend", trainer, "--data", "few.jsonl", "-o", exported)
        name_of = f"{preset} {trainer}"
        for name, (start, line) in (BOTH | (AXOLOTL if trainer == "axolotl" else UNSLOTH)).items():
            _edit(work, exported, start, line)
            found[f"{name_of} {name}"] = _dry_run(work, "mine/config.yaml", "--preset", preset)
        _edit(work, exported, "", "")
        for name, more in FLAGS.items():
            card = () if "--gpu" in more else ("--preset", preset)
            found[f"{name_of} options {name}"] = _dry_run(work, "mine/config.yaml", *card, *more)
        found[f"{name_of} in words"] = work.ql(
            "launch", "--dry-run", "--config", "mine/config.yaml", "--preset", preset
        )
        work.write("mine/config.yaml", _without_values(work.folder / "mine" / "config.yaml"))
        found[f"{name_of} bare"] = _dry_run(work, "mine/config.yaml", "--preset", preset)
    _rows(work)
    for name, (datasets, validation) in LISTS.items():
        base = ROOT / "presets" / "models" / "cpu-tiny"
        work.write("foreign.yaml", FOREIGN.format(base=base, datasets=datasets.rstrip("\n"), validation=validation))
        found[f"foreign {name}"] = _dry_run(work, "foreign.yaml", "--preset", "cpu-tiny")
        found[f"foreign {name}, golden"] = _dry_run(
            work, "foreign.yaml", "--preset", "cpu-tiny", "--golden", "golden.jsonl", "--allow-overlap"
        )
    return found


def _without_values(path: Path) -> str:
    """The config without its comments and a few of the keys that a trainer has a value for."""
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    gone = ("#", "seed:", "weight_decay:", "max_grad_norm:", "logging_steps:", "warmup_ratio:", "lr_scheduler:")
    return "".join(line for line in lines if not line.lstrip().startswith(gone))


def _edit(work: Work, exported: str, start: str, line: str) -> None:
    """mine/: a copy of the exported folder, with the first line that begins so replaced."""
    folder = work.clear("mine")
    shutil.copytree(work.folder / exported, folder)
    path = folder / "config.yaml"
    text = path.read_text(encoding="utf-8")
    if start:
        text, count = re.subn(rf"^{start}.*$", lambda match: line, text, count=1, flags=re.MULTILINE)
        text += "" if count else f"{line}\n"
    else:
        text += f"{line}\n" if line else ""
    path.write_text(text, encoding="utf-8")


def _dry_run(work: Work, config: str, *more: str) -> dict[str, str]:
    return unfold(work.ql("launch", "--dry-run", "--json", "--config", config, *more))


def _rows(work: Work) -> None:
    """rows/: 48 chats, and the examples of two other formats over and over."""
    work.write("rows/chat.jsonl", (work.folder / "few.jsonl").read_text(encoding="utf-8"))
    for name in ("alpaca", "text"):
        text = (ROOT / "examples" / "formats" / f"{name}.jsonl").read_text(encoding="utf-8")
        work.write(f"rows/{name}.jsonl", text)
