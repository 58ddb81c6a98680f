"""`ql validate`: the findings over the corpus, the rules' own configs and our own files, and every code's page."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path
from typing import Any

import yaml

from load_script import load_script
from net.store import Cases
from net.work import ROOT, Work

TESTS = ROOT / "tests" / "configs" / "rules"
ROW = '{"messages": [{"role": "user", "content": "Is it on?"}, {"role": "assistant", "content": "Yes."}]}\n'
GOLDEN = '{"input": "is it  on?", "target": "Yes."}\n'
VERSIONS = ("0.17", "0.18", "0.19")
CARDS = ("t4", "a10g", "h100", "cpu")
UNSLOTH: dict[str, Any] = {
    "base_model": "mistralai/Mistral-7B-v0.3", "load_in_4bit": True, "quant_type": "nf4", "double_quant": True,
    "compute_dtype": "float16", "eos_token": "<|im_end|>", "pad_token": "<unk>", "lora_r": 16, "lora_alpha": 32,
    "lora_dropout": 0, "lora_target_modules": ["q_proj"], "train_file": "a.jsonl", "eval_file": None,
    "chat_template": "chat_template.jinja", "end_of_turn": "<|im_end|>", "sequence_len": 2048,
    "excess_length": "truncate", "packing": False, "micro_batch_size": 2, "gradient_accumulation_steps": 8,
    "eval_batch_size": 1, "num_epochs": 1, "max_steps": None, "learning_rate": 0.0002, "lr_scheduler": "cosine",
    "warmup_ratio": 0.03, "optimizer": "paged_adamw_8bit", "weight_decay": 0, "max_grad_norm": 1, "seed": 1,
    "eval_interval": 0.25, "keep": "last", "logging_steps": 1, "output_dir": "trainer", "gradient_checkpointing": True,
    "activation_offload": False,
}  # fmt: skip
UNSLOTH_CHANGES: tuple[dict[str, Any], ...] = (
    {}, {"lora_rr": 8}, {"lora_r": "x"}, {"compute_dtype": "bfloat16"}, {"packing": True}, {"kernels": []},
    {"load_in_4bit": False}, {"quant_type": "fp5"}, {"sequence_len": 8192}, {"micro_batch_size": 0},
    {"eval_file": "b.jsonl"}, {"keep": "best"}, {"learning_rate": 2}, {"learning_rate": "2e-4"},
    {"optimizer": "sgd"}, {"lora_dropout": 0.1}, {"base_model": "google/gemma-2-9b"}, {"max_steps": 5},
)  # fmt: skip
DATA = {"good": ROW, "another": '{"text": "x"}\n' + ROW, "not JSON": ROW + "{not json\n", "empty": ""}


def cases(work: Work) -> Cases:
    found: Cases = {}
    work.write("config/a.jsonl", ROW)
    work.write("config/chat_template.jinja", "{{ messages }}")
    corpus = load_script(ROOT / "benchmarks" / "validate" / "corpus.py")
    for case in corpus.corpus()[:: work.every]:
        found[f"corpus {case.name}"] = _text(work, case.text)
    found |= _rules(work)
    for number, changes in enumerate(UNSLOTH_CHANGES):
        for card in (None, *CARDS):
            words = ("--gpu", card) if card else ()
            found[f"unsloth {number} {changes} {card or ''}"] = _text(work, _dump(UNSLOTH | changes), *words)
    found |= _data(work)
    for path in _own_files():
        words = ("--kind", "golden") if path.name == "golden.jsonl" else ()
        found[f"file {path.relative_to(ROOT)}"] = work.ql("validate", path, *words, "--format", "json")
    found |= _formats(work)
    listed = work.ql("validate", "--explain", "QL")
    found["codes"] = listed
    for code in re.findall(r"^QL\d+", listed["stdout"], re.MULTILINE):
        found[f"explain {code}"] = work.ql("validate", "--explain", code)
    for start in ("QL1", "QL3", "QL8"):
        found[f"explain {start}"] = work.ql("validate", "--explain", start)
    found["page"] = {"rules.md": (ROOT / "docs" / "rules.md").read_text(encoding="utf-8")}
    return found


def _rules(work: Work) -> Cases:
    """The bad and the good config of each rule, for each Axolotl, and on the cards that a rule is about."""
    rules = runpy.run_path(str(TESTS / "cases.py"))

    def text(changes: dict[str, Any]) -> str:
        return _dump({key: value for key, value in (rules["BASE"] | changes).items() if value is not None})

    found: Cases = {}
    for code, pair in rules["CASES"].items():
        for word, changes in zip(("bad", "good"), pair, strict=True):
            found[f"rule {code} {word}"] = _text(work, text(changes))
            for version in VERSIONS[:-1]:
                found[f"rule {code} {word} {version}"] = _text(work, text(changes), "--axolotl-version", version)
            found[f"rule {code} {word} fixed"] = work.ql("validate", "--fix", "-", stdin=text(changes))
    for code, (bad, good, changes) in rules["CARD_CASES"].items():
        for card in (bad, good):
            found[f"rule {code} {card}"] = _text(work, text(changes), "--gpu", card)
    return found


def _data(work: Work) -> Cases:
    """Configs with their data read, and against a golden set."""
    rules = runpy.run_path(str(TESTS / "cases.py"))
    axolotl = rules["BASE"] | {"datasets": [{"path": "a.jsonl", "type": "chat_template"}]}
    work.write("config/golden.jsonl", GOLDEN)
    found: Cases = {}
    for trainer, config in (("axolotl", axolotl), ("unsloth", UNSLOTH)):
        for name, rows in DATA.items():
            work.write("config/a.jsonl", rows)
            found[f"data {trainer} {name}"] = _text(work, _dump(config), "--with-data")
            golden = ("--with-data", "--golden", "config/golden.jsonl")
            found[f"data {trainer} {name}, golden"] = _text(work, _dump(config), *golden)
        missing = json.loads(json.dumps(config).replace("a.jsonl", "nowhere.jsonl"))
        found[f"data {trainer} missing"] = _text(work, _dump(missing), "--with-data")
    work.write("config/a.jsonl", ROW)
    return found


def _formats(work: Work) -> Cases:
    """The same findings in every format, and with each option that chooses among them."""
    rules = runpy.run_path(str(TESTS / "cases.py"))
    bad: dict[str, Any] = {}
    for code in ("QL107", "QL111", "QL115", "QL204", "QL208"):
        bad |= {key: value for key, value in rules["CASES"][code][0].items() if value is not None}
    text = _dump(rules["BASE"] | bad)
    options: dict[str, tuple[str, ...]] = {
        "strict": ("--strict",), "quiet": ("--quiet",), "select": ("--select", "QL1"), "ignore": ("--ignore", "QL1"),
        "both": ("--select", "QL1", "--ignore", "QL111"), "text": ("--format", "text"),
        "github": ("--format", "github"), "sarif": ("--format", "sarif"), "kind": ("--kind", "unsloth"),
        "skip": ("--skip-unknown",),
    }  # fmt: skip
    work.write("config/config.yaml", text)
    found = {f"options {name}": work.ql("validate", "config/config.yaml", *words) for name, words in options.items()}
    found["options fix"] = work.ql("validate", "--fix", "config/config.yaml")
    found["options fix"]["config.yaml"] = (work.folder / "config" / "config.yaml").read_text(encoding="utf-8")
    found["options folder"] = work.ql("validate", "config")
    found["ignored in the file"] = _text(work, "# ql: axolotl 0.18\n" + text.replace("\n", "  # ql: ignore QL1\n", 1))
    return found


def _text(work: Work, text: str, *more: str) -> dict[str, str]:
    work.write("config/config.yaml", text)
    return work.ql("validate", "config/config.yaml", "--format", "json", *more)


def _dump(data: dict[str, Any]) -> str:
    return yaml.safe_dump(data, sort_keys=False)


def _own_files() -> list[Path]:
    """Presets, cards, models, recipes, and the examples that are files of a kind that is checked."""
    found = sorted((ROOT / "presets").rglob("*.yaml")) + sorted((ROOT / "docs" / "examples").rglob("*.yaml"))
    return [*found, ROOT / "examples" / "golden.jsonl"]
