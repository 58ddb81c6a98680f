"""What the name of a base, or its folder, says of its special tokens."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from launcher.configs.validate import check_text

TINY = Path(__file__).resolve().parents[3] / "presets" / "models" / "cpu-tiny"


def codes(folder: Path | None = None, **changes: Any) -> set[str]:
    data = {"adapter": "qlora", "lora_r": 16, "lora_alpha": 32, "lora_target_linear": True, **changes}
    data["datasets"] = [{"path": "rows.jsonl", "type": "chat_template"}]
    file = "config.yaml" if folder is None else str(folder / "config.yaml")
    return {finding.code for finding in check_text(yaml.safe_dump(data), file=file, kind="axolotl")}


@pytest.mark.parametrize(
    ("base", "template", "warned"),
    [
        ("Qwen/Qwen2.5-7B-Instruct", "chatml", False),
        ("Qwen/Qwen2.5-7B", "chatml", True),
        ("Qwen/Qwen3-8B", "qwen3", False),
        ("Qwen/Qwen3-8B-Base", "qwen3", True),
        ("Qwen/Qwen3-30B-A3B-Thinking-2507", "qwen3", False),
        ("unsloth/Qwen3-4B-Base-bnb-4bit", "qwen3", True),
        ("./models/Qwen3-4B", "chatml", False),
        ("Qwen/Qwen3.5-9B", "chatml", False),
        ("Qwen/Qwen3.5-9B-Base", "chatml", True),
        ("meta-llama/Llama-3.1-8B-Instruct", "llama3", False),
        ("NousResearch/Meta-Llama-3-8B", "llama3", True),
        ("google/gemma-2-9b-it", "gemma", False),
        ("google/gemma-2-9b", "gemma", True),
        ("NousResearch/Llama-2-7b-hf", "chatml", True),
        ("NousResearch/Llama-2-7b-hf", "tokenizer_default", False),
    ],
)
def test_the_token_that_ends_a_turn(base: str, template: str, warned: bool) -> None:
    assert ("QL710" in codes(base_model=base, chat_template=template)) is warned


@pytest.mark.parametrize(("eos", "warned"), [("<|im_end|>", False), ("</s>", True)])
def test_a_base_that_is_here_says_how_it_ends(eos: str, warned: bool, tmp_path: Path) -> None:
    for name, instruct in (("base", False), ("instruct", True)):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text('{"model_type": "llama"}')
        (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": eos}))
        found = codes(tmp_path, base_model=name, chat_template="chatml")
        assert ("QL710" in found) is warned, instruct


TRAINED = {"lora_modules_to_save": ["embed_tokens", "lm_head"]}


@pytest.mark.parametrize(
    ("base", "more", "found"),
    [
        ("meta-llama/Llama-2-7b-hf", {"tokens": ["<|im_end|>"]}, {"QL414"}),
        ("meta-llama/Llama-2-7b-hf", {"tokens": ["<|im_end|>"], **TRAINED}, set()),
        ("meta-llama/Llama-2-7b-hf", {"tokens": []}, set()),
        ("EleutherAI/gpt-neox-20b", {"tokens": ["a"], "lora_modules_to_save": ["embed_in"]}, {"QL414"}),
        ("meta-llama/Llama-2-7b-hf", {"special_tokens": {"eos_token": "<|im_end|>"}}, {"QL718"}),
        ("meta-llama/Llama-2-7b-hf", {"special_tokens": {"pad_token": "[PAD]"}}, {"QL718"}),
        ("meta-llama/Llama-2-7b-hf", {"special_tokens": {"pad_token": "[PAD]"}, **TRAINED}, set()),
        ("meta-llama/Llama-2-7b-hf", {"special_tokens": {"pad_token": "<unk>", "eos_token": "</s>"}}, set()),
        ("meta-llama/Meta-Llama-3-8B", {"special_tokens": {"pad_token": "<|finetune_right_pad_id|>"}}, set()),
        ("meta-llama/Meta-Llama-3-8B", {"special_tokens": {"pad_token": "<|reserved_special_token_5|>"}}, set()),
        ("Qwen/Qwen2.5-7B", {"special_tokens": {"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"}}, set()),
        ("some/unheard-of", {"special_tokens": {"eos_token": "<|im_end|>"}}, set()),
        (str(TINY), {"special_tokens": {"eos_token": "<|im_end|>"}}, set()),
        (str(TINY), {"special_tokens": {"eos_token": "<|end|>"}}, {"QL415"}),
        (str(TINY), {"special_tokens": {"pad_token": "<|pad|>"}}, {"QL718"}),
        (str(TINY), {"special_tokens": {"eos_token": "<|end|>"}, "adapter": None}, set()),
    ],
)
def test_new_tokens(base: str, more: dict[str, Any], found: set[str]) -> None:
    assert codes(base_model=base, **more) & {"QL414", "QL415", "QL718"} == found


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("chatml", "type: chat_template"),
        ("openai", "type: chat_template"),
        ("alpacca", "did you mean 'alpaca'?"),
        ("alpaca:load_qa", "type: alpaca.load_qa"),
        ("chat_templates", "did you mean 'chat_template'?"),
        ("unheard.load_it", "known: "),
        ("alpaca", None),
        ("alpaca:chat", None),
        ("alpaca_chat.load_qa", None),
        ("context_qa.load_v2", None),
        ("my.own.module", None),
        ("sharegpt", None),
        ("sharegpt:chat", None),
        ({"field_instruction": "q", "format": "{instruction}"}, None),
    ],
)
def test_types_of_data_sets(kind: Any, hint: str | None) -> None:
    data = {"base_model": "a/b", "datasets": [{"path": "rows.jsonl", "type": kind}]}
    found = [one for one in check_text(yaml.safe_dump(data), file="config.yaml", kind="axolotl") if one.code == "QL416"]
    assert len(found) == (hint is not None)
    assert all(hint is not None and hint in one.hint for one in found)
