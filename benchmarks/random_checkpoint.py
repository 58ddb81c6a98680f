"""A checkpoint with random weights and the exact shape of a model of the catalog, with a small trained tokenizer.

    python benchmarks/random_checkpoint.py mistral-7b DIR
    python benchmarks/random_checkpoint.py llama-2-70b DIR --nf4      stored in 4 bit, as bitsandbytes writes it

What memory and speed depend on is the shape; what is in the weights does not matter to them. Written layer by layer
with numpy, at the speed of the disk: neither torch nor a GPU is needed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sysconfig
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from launcher.catalog import Model

SPECIAL = ["<unk>", "<s>", "</s>", "<pad>"]
CLASSES = {
    "llama": "LlamaForCausalLM",
    "mistral": "MistralForCausalLM",
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
}
# config.json files of models that the catalog does not have, by name.
ARCHITECTURES = Path(__file__).resolve().parent / "sizing" / "architectures"
BLOCK, NESTED = 64, 256  # weights under one scale, scales under one scale
# The 16 values of NF4 (Dettmers et al. 2023, appendix E), as bitsandbytes stores them beside each weight.
NF4 = (
    -1.0, -0.6961928, -0.52507305, -0.39491749, -0.28444138, -0.18477343, -0.09105004, 0.0,
    0.0795803, 0.1609302, 0.2461123, 0.33791524, 0.44070983, 0.562617, 0.72295684, 1.0,
)  # fmt: skip


def find_model(name: str) -> Model:
    """A model of the catalog, or one of `ARCHITECTURES`."""
    from launcher.catalog import load_model

    folder = ARCHITECTURES / name
    return load_model(str(folder) if (folder / "config.json").is_file() else name)


def config(model: Model, *, quantized: bool, compute_dtype: str = "bfloat16") -> dict[str, Any]:
    """The checkpoint's config.json."""
    from launcher.catalog.architecture import config_values

    shape = {key: value for key, value in config_values(model).items() if model.num_experts or "expert" not in key}
    values: dict[str, Any] = {
        "architectures": [CLASSES[model.model_type]],
        "model_type": model.model_type,
        "dtype": "bfloat16",
        **shape,
        "max_position_embeddings": model.max_position_embeddings,
        "sliding_window": None,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "bos_token_id": 1,
        "eos_token_id": 2,
        "pad_token_id": 3,
    }
    if quantized:
        values["quantization_config"] = {
            "quant_method": "bitsandbytes",
            "load_in_4bit": True,
            "_load_in_4bit": True,
            "load_in_8bit": False,
            "_load_in_8bit": False,
            "bnb_4bit_quant_type": "nf4",
            "bnb_4bit_use_double_quant": True,
            "bnb_4bit_compute_dtype": compute_dtype,
            "bnb_4bit_quant_storage": "uint8",
            "llm_int8_threshold": 6.0,
        }
    return values


# --- tensors ---

Tensor = tuple[str, str, tuple[int, ...]]  # name, safetensors' name of the type, shape


def layer_tensors(model: Model, index: int, quantized: bool) -> Iterator[Tensor]:
    from launcher.catalog.architecture import linear_layers, norms_queries_and_keys

    prefix = f"model.layers.{index}"
    if norms_queries_and_keys(model):
        for norm in ("q_norm", "k_norm"):
            yield f"{prefix}.self_attn.{norm}.weight", "BF16", (model.head_dim,)
    for norm in ("input_layernorm", "post_attention_layernorm"):
        yield f"{prefix}.{norm}.weight", "BF16", (model.hidden_size,)
    for linear in linear_layers(model):
        name, weights = f"{prefix}.{linear.block}.{linear.name}", linear.parameters
        if linear.bias:
            yield f"{name}.bias", "BF16", (linear.out_features,)
        if not quantized:
            yield f"{name}.weight", "BF16", (linear.out_features, linear.in_features)
            continue
        yield f"{name}.weight", "U8", (weights // 2, 1)
        yield f"{name}.weight.absmax", "U8", (weights // BLOCK,)
        yield f"{name}.weight.quant_map", "F32", (16,)
        yield f"{name}.weight.nested_absmax", "F32", (math.ceil(weights / BLOCK / NESTED),)
        yield f"{name}.weight.nested_quant_map", "F32", (256,)
        state = quant_state(linear.out_features, linear.in_features)
        yield f"{name}.weight.quant_state.bitsandbytes__nf4", "U8", (len(state),)


def plain_tensors(model: Model) -> Iterator[Tensor]:
    yield "model.embed_tokens.weight", "BF16", (model.vocab_size, model.hidden_size)
    yield "model.norm.weight", "BF16", (model.hidden_size,)
    if not model.tie_word_embeddings:
        yield "lm_head.weight", "BF16", (model.vocab_size, model.hidden_size)


def quant_state(rows: int, columns: int) -> bytes:
    state = {
        "quant_type": "nf4",
        "blocksize": BLOCK,
        "dtype": "bfloat16",
        "shape": [rows, columns],
        "nested_blocksize": NESTED,
        "nested_dtype": "float32",
        "nested_offset": 0.05,
    }
    return json.dumps(state).encode()


class Noise:
    """Random bytes for tensors of any size: blocks made once and written again and again."""

    def __init__(self, seed: int = 0) -> None:
        import numpy as np

        draw = np.random.default_rng(seed)
        weights = (draw.standard_normal(8 * 2**20, dtype=np.float32) * 0.02).view(np.uint32)
        self.bfloat16 = (weights >> 16).astype(np.uint16).view(np.uint8)
        self.codes = draw.integers(0, 256, size=16 * 2**20, dtype=np.uint8)
        one: NDArray[np.uint16] = np.full(2**16, 0x3F80, dtype=np.uint16)
        self.ones = one.view(np.uint8)
        self.zeros: NDArray[np.uint8] = np.zeros(2**17, dtype=np.uint8)

    def source(self, name: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
        import numpy as np

        if name.endswith("quant_map") and "nested" not in name:
            return np.array(NF4, dtype=np.float32).view(np.uint8)
        if name.endswith("nested_quant_map"):
            return np.linspace(-1, 1, 256, dtype=np.float32).view(np.uint8)
        if name.endswith("nested_absmax"):
            return np.full(shape, 0.02, dtype=np.float32).view(np.uint8)
        if name.endswith("bias"):
            return self.zeros
        if "norm" in name:
            return self.ones
        return self.codes if name.endswith("absmax") or shape[-1] == 1 else self.bfloat16


WIDTH = {"BF16": 2, "U8": 1, "F32": 4}


def write_shard(path: Path, tensors: list[Tensor], noise: Noise, states: dict[str, bytes]) -> None:
    """One safetensors file: the length of its header, the header, the tensors one after the other."""
    header: dict[str, Any] = {}
    offset = 0
    for name, kind, shape in tensors:
        size = math.prod(shape) * WIDTH[kind]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        for name, kind, shape in tensors:
            left = math.prod(shape) * WIDTH[kind]
            if name in states:
                stream.write(states[name])
                continue
            block = noise.source(name, shape)
            while left > 0:
                piece = block[: min(left, block.nbytes)]
                stream.write(memoryview(piece))
                left -= piece.nbytes


def write_checkpoint(name: str, folder: Path, *, quantized: bool = False, layers: int | None = None) -> int:
    """Write a checkpoint of the model ``name``, cut to its first ``layers``; returns its number of weights."""
    from launcher.catalog.architecture import count_parameters

    model = find_model(name)
    if layers:
        model = replace(model, num_layers=layers)
        model = replace(model, parameters=count_parameters(model))
    return write_model(model, folder, quantized=quantized)


def write_shape(family: str, values: dict[str, Any], folder: Path) -> int:
    """Write a checkpoint of any shape: a model_type, and the keys of its config.json."""
    from launcher.catalog.local import model_from_folder

    (folder / "config.json").write_text(json.dumps({"model_type": family, **values}))
    return write_model(model_from_folder(folder, base_model=str(folder)), folder, quantized=False)


def write_model(model: Model, folder: Path, *, quantized: bool) -> int:
    from launcher.catalog.architecture import linear_layers

    noise = Noise()
    files = model.num_layers + 1
    index: dict[str, str] = {}
    for number in range(files):
        tensors = list(plain_tensors(model) if number == 0 else layer_tensors(model, number - 1, quantized))
        states = {
            f"model.layers.{number - 1}.{block}.{linear.name}.weight.quant_state.bitsandbytes__nf4": quant_state(
                linear.out_features, linear.in_features
            )
            for linear in linear_layers(model)
            for block in ("mlp", "self_attn")
        }
        shard = f"model-{number + 1:05d}-of-{files:05d}.safetensors"
        write_shard(folder / shard, tensors, noise, states)
        index |= {tensor: shard for tensor, _, _ in tensors}
    total = sum((folder / shard).stat().st_size for shard in set(index.values()))
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {"total_size": total}, "weight_map": index})
    )
    (folder / "config.json").write_text(json.dumps(config(model, quantized=quantized), indent=1))
    write_tokenizer(folder)
    return model.parameters


# --- tokenizer and rows ---


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
    trainer = trainers.BpeTrainer(  # type: ignore[no-untyped-call]
        vocab_size=8000, special_tokens=SPECIAL, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train(source_files(), trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    names = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
    settings = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 32768, **names}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2))


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
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nf4", action="store_true")
    parser.add_argument("--layers", type=int)
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    print(write_checkpoint(options.model, options.folder, quantized=options.nf4, layers=options.layers), "weights")
