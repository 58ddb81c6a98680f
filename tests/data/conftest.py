"""Small tokenizers of the two kinds that base models have, trained on a few lines: nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CONTROL = [
    "<|im_start|>", "<|im_end|>", "<|endoftext|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|finetune_right_pad_id|>",
    "<start_of_turn>", "<end_of_turn>", "<pad>",
]  # fmt: skip
CORPUS = [
    "The router drops every third packet, please help: it is 42 degrees outside!",
    "user assistant system model tool [INST] [/INST] answer question the of and to in",
    '{"name": "weather", "arguments": {"city": "Zürich", "days": 3}}\n\n  return x + 1\n',
] * 20


def byte_level() -> Tokenizer:
    """Byte-level BPE with the splitting of Qwen 2 and Llama 3: a newline never joins the word after it."""
    tokenizer = Tokenizer(models.BPE())
    pattern = r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=[*CONTROL, "</s>", "<s>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


def sentencepiece() -> Tokenizer:
    """Character BPE with byte fallback and word markers, as in Llama 2, Mistral and Gemma."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", "<s>", "</s>", *CONTROL, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=700, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([line.replace("\n", " ") for line in CORPUS], trainer)
    data = json.loads(tokenizer.to_str())
    data["added_tokens"] = [item for item in data["added_tokens"] if not item["content"].startswith("<0x")]
    return Tokenizer.from_str(json.dumps(data))


def write_base(folder: Path, tokenizer: Tokenizer, **config: object) -> Path:
    """A model folder without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", "vocab_size": tokenizer.get_vocab_size()}))
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "clean_up_tokenization_spaces": False, **config}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))
    return folder


@pytest.fixture(scope="session")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Model folders by kind: ``bytes`` (no bos, like Qwen) and ``pieces`` (with bos, like Llama 2)."""
    root = tmp_path_factory.mktemp("bases")
    return {
        "bytes": write_base(root / "bytes", byte_level(), eos_token="<|endoftext|>"),
        "pieces": write_base(root / "pieces", sentencepiece(), bos_token="<s>", eos_token="</s>", unk_token="<unk>"),
    }
