from __future__ import annotations

import json
from pathlib import Path

import pytest

from launcher.data.base import added_tokens, base_tokens, vocabulary
from launcher.data.chat import load_chat_template
from launcher.data.special import special_tokens
from launcher.errors import BadInput, Unreadable


def write_files(folder: Path, vocab: list[str], added: list[str] = [], **config: object) -> Path:  # noqa: B006
    tokenizer = {
        "model": {"vocab": {word: index for index, word in enumerate(vocab)}},
        "added_tokens": [{"content": token} for token in added],
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_existing_pad_is_kept(tmp_path: Path) -> None:
    base = write_files(tmp_path, ["</s>", "<mine>", "<unk>"], eos_token="</s>", pad_token="<mine>")
    assert special_tokens(base, load_chat_template("inst")) == {"eos": "</s>", "eot": "</s>", "pad": "<mine>"}


def test_pad_that_ends_turns_is_replaced(tmp_path: Path) -> None:
    base = write_files(tmp_path, ["</s>", "<unk>"], eos_token={"content": "</s>"}, pad_token="</s>")
    assert special_tokens(base, load_chat_template("inst"))["pad"] == "<unk>"


def test_qwen_like_base_pads_with_its_old_end(tmp_path: Path) -> None:
    base = write_files(tmp_path, ["a"], ["<|endoftext|>", "<|im_start|>", "<|im_end|>"], eos_token="<|endoftext|>")
    assert special_tokens(base, load_chat_template("chatml")) == {
        "eos": "<|im_end|>",
        "eot": "<|im_end|>",
        "pad": "<|endoftext|>",
    }


def test_llama3_like_base_with_inst(tmp_path: Path) -> None:
    added = ["<|begin_of_text|>", "<|end_of_text|>", "<|finetune_right_pad_id|>", "<|eot_id|>"]
    base = write_files(tmp_path, ["a"], added, bos_token="<|begin_of_text|>", eos_token="<|end_of_text|>")
    found = special_tokens(base, load_chat_template("inst"))
    assert found == special_tokens(None, load_chat_template("inst"), vocab_size=128256)
    assert found["pad"] == "<|finetune_right_pad_id|>"


def test_bos_is_never_the_pad(tmp_path: Path) -> None:
    base = write_files(tmp_path, ["<pad>", "</s>", "<unk>"], bos_token="<pad>", eos_token="</s>")
    assert special_tokens(base, None)["pad"] == "<unk>"


def test_base_without_the_templates_token_is_refused(tmp_path: Path) -> None:
    base = write_files(tmp_path, ["</s>", "<unk>"], eos_token="</s>")
    with pytest.raises(BadInput, match=r"<\|im_end\|>"):
        special_tokens(base, load_chat_template("chatml"))


def test_nothing_to_pad_with(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no token to pad with"):
        special_tokens(write_files(tmp_path, ["</s>"], eos_token="</s>"), None)


def test_no_end_of_sequence(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="names no end-of-sequence"):
        special_tokens(write_files(tmp_path, ["a"]), None)


def test_folder_with_sentencepiece_files_alone(tmp_path: Path) -> None:
    (tmp_path / "special_tokens_map.json").write_text(json.dumps({"eos_token": "</s>", "unk_token": "<unk>"}))
    assert special_tokens(tmp_path, load_chat_template("inst")) == {"eos": "</s>", "eot": "</s>", "pad": "<unk>"}


@pytest.mark.parametrize("name", ["chatml", "inst", "llama3", "gemma"])
def test_without_a_base_the_family_decides(name: str) -> None:
    found = special_tokens(None, load_chat_template(name))
    assert found["eos"] == found["eot"] != found["pad"]


def test_files_are_read_together(tmp_path: Path) -> None:
    base = write_files(tmp_path, ["a"], ["<x>"], eos_token="<x>", added_tokens_decoder={"5": {"content": "<y>"}})
    (base / "special_tokens_map.json").write_text(json.dumps({"eos_token": "<old>", "bos_token": {"content": "<b>"}}))
    assert base_tokens(base) == {"eos_token": "<x>", "bos_token": "<b>"}
    assert added_tokens(base) == {"<x>", "<y>"}
    assert vocabulary(base) == {"a", "<x>", "<y>"}


@pytest.mark.parametrize("text", ["{", "[]", "\ud800".encode("utf-16", "surrogatepass").decode("latin-1")])
def test_broken_files_are_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "tokenizer_config.json").write_text(text, encoding="latin-1")
    with pytest.raises(Unreadable, match=r"tokenizer_config\.json"):
        base_tokens(tmp_path)
