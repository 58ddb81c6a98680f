"""A checkpoint with random weights and the exact shape of a model of the catalog, with a small trained tokenizer.

    python benchmarks/random_checkpoint.py mistral-7b DIR

What memory and speed depend on is the shape; what is in the weights does not matter to them. Made on the GPU where
there is one (a 7B in seconds), written as safetensors in bfloat16.
"""

from __future__ import annotations

import json
import random
import sys
import sysconfig
from pathlib import Path

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]


def config_values(name: str) -> tuple[str, dict[str, object]]:
    """(model_type, keyword arguments of the transformers config) of the catalog model ``name``."""
    from launcher.catalog import load_model

    model = load_model(name)
    return model.model_type, {
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "intermediate_size": model.intermediate_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_attention_heads,
        "num_key_value_heads": model.num_key_value_heads,
        "head_dim": model.head_dim,
        "max_position_embeddings": model.max_position_embeddings,
        "tie_word_embeddings": model.tie_word_embeddings,
        "bos_token_id": 1,
        "eos_token_id": 2,
    }


def source_files(count: int = 150) -> list[str]:
    """Text that every Python has at hand: its own library."""
    return [str(path) for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))[:count]]


def write_tokenizer(folder: Path) -> None:
    """A byte-level BPE of 8,000 tokens."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=8000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train(source_files(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32768, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


def write_checkpoint(name: str, folder: Path) -> int:
    """Write the checkpoint of the catalog model ``name``; returns the number of weights."""
    return write_shape(*config_values(name), folder)


def write_shape(family: str, values: dict[str, object], folder: Path) -> int:
    """Write a checkpoint of any shape: a model_type, and the keyword arguments of its transformers config."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = AutoConfig.for_model(family, **values)
    torch.manual_seed(0)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        model = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    model.save_pretrained(folder, max_shard_size="4GB")
    count = sum(parameter.numel() for parameter in model.parameters())
    del model
    write_tokenizer(folder)
    return count


def write_rows(path: Path, rows: int, words: int, seed: int = 0) -> None:
    """Chat rows of about ``words`` words each, cut from the same text."""
    text = " ".join(Path(name).read_text(encoding="utf-8", errors="ignore") for name in source_files(60)).split()
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as stream:
        for _ in range(rows):
            start = draw.randrange(len(text) - words)
            question, answer = " ".join(text[start : start + 20]), " ".join(text[start + 20 : start + words])
            turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
            stream.write(json.dumps({"messages": turns}) + "\n")


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    print(write_checkpoint(sys.argv[1], target), "weights")
