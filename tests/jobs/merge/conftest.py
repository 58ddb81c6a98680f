"""Small models of real families, adapters as peft saves them, and the model that training computed with.

The reference never touches ql's code: transformers loads the base, bitsandbytes quantises and dequantises what training
quantised, peft adds its adapter unmerged, and all of it is computed in float32.
"""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
torch = pytest.importorskip("torch")
pytest.importorskip("peft")
pytest.importorskip("bitsandbytes")

SMALL = {
    "vocab_size": 512,
    "hidden_size": 128,
    "intermediate_size": 192,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "initializer_range": 0.08,
    "max_position_embeddings": 256,
}
FAMILIES: dict[str, dict[str, Any]] = {
    "llama": {},
    "mistral": {},
    "qwen2": {"tie_word_embeddings": False},
    "qwen2-tied": {"tie_word_embeddings": True},
    "gemma2": {"vocab_size": 2048, "head_dim": 32},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "smollm3": {"no_rope_layers": [1, 0], "pad_token_id": 0},
    "qwen2_moe": {
        "num_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 96,
        "shared_expert_intermediate_size": 160,
    },
}


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Warnings of the training stack about itself; ours still count."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"(peft|transformers|torch|bitsandbytes|accelerate)\b.*")
        warnings.filterwarnings("ignore", message=".*tie_word_embeddings.*")
        warnings.filterwarnings("ignore", message=".*save_embedding_layers.*")
        warnings.filterwarnings("ignore", message=".*config file.*vocabulary was not modified.*")
        yield


def write_tokenizer(folder: Path, eos: str = "<|im_end|>") -> None:
    """A tokenizer of a few words, with a chat template and a pad token apart from its eos."""
    vocabulary = {"<unk>": 0, "<s>": 1, "</s>": 2, eos: 3, "<pad>": 4, "hello": 5, "world": 6}
    (folder / "tokenizer.json").write_text(
        json.dumps(
            {
                "version": "1.0",
                "added_tokens": [
                    {"id": i, "content": t, "special": True, "single_word": False, "lstrip": False, "rstrip": False,
                     "normalized": False}
                    for t, i in list(vocabulary.items())[:5]
                ],
                "pre_tokenizer": {"type": "Whitespace"},
                "model": {"type": "WordLevel", "vocab": vocabulary, "unk_token": "<unk>"},
            }
        )
    )  # fmt: skip
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": eos,
        "bos_token": "<s>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings))


@pytest.fixture
def make_base(tmp_path: Path) -> Callable[..., Path]:
    """``make_base(family, dtype="bfloat16", shards=1, **config)``: a random model, saved as its family is."""

    def make(family: str = "llama", dtype: str = "bfloat16", shards: int = 1, name: str = "base", **extra: Any) -> Path:
        from transformers import AutoConfig, AutoModelForCausalLM

        settings = {**SMALL, **FAMILIES[family], **extra}
        config = AutoConfig.for_model(family.split("-")[0], **settings)
        torch.manual_seed(1)
        model = AutoModelForCausalLM.from_config(config).to(getattr(torch, dtype))
        for parameter_name, parameter in model.named_parameters():
            if "norm" in parameter_name or parameter_name.endswith("bias"):
                torch.nn.init.normal_(parameter, mean=0.5 if "norm" in parameter_name else 0.0, std=0.1)
        size = sum(p.numel() * p.element_size() for p in model.parameters())
        folder = tmp_path / name
        model.save_pretrained(folder, max_shard_size="50GB" if shards == 1 else size // shards)
        write_tokenizer(folder)
        return folder

    return make


@dataclass
class Trained:
    """An adapter on disk, with the record of how its base was held."""

    base: Path
    adapter: Path
    record: dict[str, Any] | None


@pytest.fixture(name="load_as_trained")
def load_as_trained_fixture() -> Callable[..., Any]:
    return load_as_trained


def load_as_trained(base: Path, record: dict[str, Any] | None) -> Any:
    """The base in float32 with the numbers that training computed with."""
    import bitsandbytes.functional as bnb
    from transformers import AutoModelForCausalLM

    dtype = getattr(torch, (record or {}).get("load_dtype") or "float32")
    stored = json.loads((base / "config.json").read_text()).get("quantization_config")
    model = AutoModelForCausalLM.from_pretrained(base, dtype="auto" if stored else dtype)
    if stored:
        model = model.dequantize()
    if stored and stored.get("load_in_8bit"):  # transformers rounds these to 16 bits, which training never did
        from safetensors.torch import load_file

        model, tensors = model.float(), load_file(base / "model.safetensors")
        for name in [name.removesuffix(".SCB") for name in tensors if name.endswith(".SCB")]:
            restored = bnb.int8_vectorwise_dequant(tensors[f"{name}.weight"], tensors[f"{name}.SCB"])
            model.get_submodule(name).weight = torch.nn.Parameter(restored)
    for name in (record or {}).get("quantized_modules", []) if not stored else []:
        weight = model.get_submodule(name).weight
        if record["quant_type"] == "int8":
            codes, scales, _ = bnb.int8_vectorwise_quant(weight.data.half())
            restored = bnb.int8_vectorwise_dequant(codes, scales)
        else:
            codes, state = bnb.quantize_4bit(
                weight.data.reshape(1, -1),  # one row: with AVX512 the library fails where rows do not end with a block
                quant_type=record["quant_type"],
                compress_statistics=record["double_quant"],
                blocksize=record["block_size"],
            )
            restored = bnb.dequantize_4bit(codes, state).view_as(weight)
        model.get_submodule(name).weight = torch.nn.Parameter(restored.float())
    return model.float().eval()


@pytest.fixture
def train(tmp_path: Path) -> Callable[..., Trained]:
    """``train(base, quant="nf4", load_dtype="bfloat16", delta=0.05, resize=None, **lora)``: an adapter and a record.

    The adapter's numbers are random, with each update at ``delta`` times the norm of its weight.
    """

    def make(
        base: Path,
        quant: str | None = "nf4",
        load_dtype: str = "bfloat16",
        delta: float = 0.05,
        resize: int | None = None,
        double_quant: bool = True,
        block_size: int = 64,
        name: str = "adapter",
        save_biases: bool = False,
        **lora: Any,
    ) -> Trained:
        from peft import LoraConfig, get_peft_model
        from transformers import AutoModelForCausalLM

        stored = json.loads((base / "config.json").read_text()).get("quantization_config")
        model = AutoModelForCausalLM.from_pretrained(base, dtype="auto" if stored else getattr(torch, load_dtype))
        skip = ("lm_head",)
        linears = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and n not in skip]
        model = (model.dequantize() if stored else model).float()
        if resize:
            model.resize_token_embeddings(resize, mean_resizing=False)
        lora = {"r": 8, "lora_alpha": 16, "target_modules": "all-linear", "task_type": "CAUSAL_LM", **lora}
        peft_model = get_peft_model(model, LoraConfig(**lora))
        draw_adapter(peft_model, delta)
        folder = tmp_path / name
        peft_model.save_pretrained(folder, save_embedding_layers="auto" if not resize else True)
        if save_biases:  # peft 0.20 trains the biases of bias: lora_only, loads them, and does not save them
            add_biases(peft_model, folder / "adapter_model.safetensors")
        record = {
            "version": 1,
            "backend": "axolotl",
            "method": "qlora" if quant else "lora",
            "quant_type": quant,
            "double_quant": double_quant and quant == "nf4",
            "block_size": block_size,
            "compute_dtype": load_dtype,
            "load_dtype": load_dtype,
            "quantized_modules": linears if quant else [],
            "skipped_modules": list(skip),
            "device": "cpu",
        }
        return Trained(base, folder, None if stored else record)

    return make


@torch.no_grad()
def draw_adapter(peft_model: Any, delta: float) -> None:
    """Random numbers in all that is trained, each update scaled to ``delta`` times the norm of its weight."""
    torch.manual_seed(2)
    for name, parameter in peft_model.named_parameters():
        if "lora_magnitude" in name:
            parameter.mul_(1 + 0.1 * torch.rand_like(parameter))
        elif parameter.requires_grad:
            spread = 0.05 if "lora_" in name else 0.1 * float(parameter.std())
            parameter.add_(torch.randn_like(parameter) * spread)
    for module in peft_model.modules():
        if "default" in getattr(module, "lora_B", {}) and delta:
            size = module.get_delta_weight("default").norm()
            weight = module.get_param() if hasattr(module, "get_param") else module.get_base_layer().weight
            module.lora_B["default"].weight.mul_(delta * weight.norm() / size)


def add_biases(peft_model: Any, path: Path) -> None:
    """Write the trained biases into the adapter's file, under the names that peft loads them by."""
    from safetensors.torch import load_file, save_file

    biases = {n: p.detach() for n, p in peft_model.named_parameters() if n.endswith(".bias") and p.requires_grad}
    assert biases
    save_file({**load_file(path), **biases}, path, metadata={"format": "pt"})


@dataclass
class Reference:
    """The trained model, unmerged and in float32: its logits, and the weights that peft merges it into."""

    logits: Any
    weights: dict[str, Any]


@pytest.fixture
def reference() -> Callable[..., Reference]:
    """Base + adapter, on 1,024 random tokens, then merged by peft in float32."""

    def compute(trained: Trained, resize: int | None = None) -> Reference:
        from peft import PeftModel

        model = load_as_trained(trained.base, trained.record)
        if resize:
            model.resize_token_embeddings(resize, mean_resizing=False)
        model = PeftModel.from_pretrained(model, trained.adapter).float().eval()
        logits = run_model(model)
        return Reference(logits, model.merge_and_unload().state_dict())

    return compute


def run_model(model: Any) -> Any:
    ids = torch.randint(0, 512, (8, 128), generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        return model(ids).logits.view(1024, -1)


@contextmanager
def logged_warnings() -> Iterator[list[str]]:
    """What transformers logs as a warning or worse."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())  # type: ignore[method-assign]
    logger = logging.getLogger("transformers")
    logger.addHandler(handler)
    try:
        yield said
    finally:
        logger.removeHandler(handler)


@pytest.fixture
def load_merged() -> Callable[[Path], Reference]:
    """A merged folder, which must load without a warning: its logits in float32, and its weights as stored."""

    def load(folder: Path) -> Reference:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        with warnings.catch_warnings(), logged_warnings() as said:
            warnings.simplefilter("error")
            model, info = AutoModelForCausalLM.from_pretrained(folder, dtype="auto", output_loading_info=True)
            AutoTokenizer.from_pretrained(folder)
        assert not any(info.values()), info
        assert not said
        weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        return Reference(run_model(model.float().eval()), weights)

    return load


def differing(wanted: dict[str, Any], stored: dict[str, Any]) -> tuple[int, int]:
    """How many stored numbers differ from the wanted ones rounded once to the stored dtype, and of how many."""
    assert wanted.keys() == stored.keys(), wanted.keys() ^ stored.keys()
    count = sum(int((tensor != wanted[name].to(tensor.dtype)).sum()) for name, tensor in stored.items())
    return count, sum(tensor.numel() for tensor in stored.values())


@pytest.fixture
def count_differing() -> Callable[..., tuple[int, int]]:
    return differing


@dataclass
class Fidelity:
    """How far a model's logits are from the reference's."""

    relative_l2: float
    kl: float
    argmax: float
    median_l2: float

    def within(self, dtype: str) -> bool:
        """The bounds of exactness for weights that were rounded once to ``dtype``."""
        l2, kl, argmax = {"float16": (0.003, 2e-6, 0.995), "bfloat16": (0.015, 5e-5, 0.97)}[dtype]
        return self.relative_l2 <= l2 and self.kl <= kl and self.argmax >= argmax


@pytest.fixture
def compare() -> Callable[[Any, Any], Fidelity]:
    def figures(reference: Any, merged: Any) -> Fidelity:
        p, q = reference.double().log_softmax(-1), merged.double().log_softmax(-1)
        return Fidelity(
            float((merged - reference).norm() / reference.norm()),
            float((p.exp() * (p - q)).sum(-1).mean()),
            float((reference.argmax(-1) == merged.argmax(-1)).double().mean()),
            float(((merged - reference).norm(dim=-1) / reference.norm(dim=-1)).median()),
        )

    return figures


@pytest.fixture
def merge(tmp_path: Path) -> Callable[..., tuple[Path, dict[str, Any]]]:
    """Run the merge job in this process; returns the folder and the result."""

    def run(trained: Trained, name: str = "merged", **request: Any) -> tuple[Path, dict[str, Any]]:
        from launcher.records.jobs import MERGE

        out = tmp_path / name
        result = MERGE.do(
            {
                "base": str(trained.base),
                "adapter": str(trained.adapter),
                "out": str(out),
                "record": trained.record,
                "device": "cpu",
                **request,
            },
            lambda message: None,
        )
        return out, result

    return run


@pytest.fixture
def quantised_base(make_base: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """``quantised_base(bits=4, dtype="bfloat16")``: a base that exists only as bitsandbytes stored it."""

    def make(bits: int = 4, dtype: str = "bfloat16", double_quant: bool = True) -> Path:
        from transformers import AutoModelForCausalLM, BitsAndBytesConfig

        base = make_base(name="original")
        settings: dict[str, Any] = {"load_in_8bit": True}
        if bits == 4:
            settings = {
                "load_in_4bit": True,
                "bnb_4bit_quant_type": "nf4",
                "bnb_4bit_use_double_quant": double_quant,
                "bnb_4bit_compute_dtype": torch.float32,
            }
        model = AutoModelForCausalLM.from_pretrained(
            base, quantization_config=BitsAndBytesConfig(**settings), dtype=getattr(torch, dtype)
        )
        folder = tmp_path / "stored"
        model.save_pretrained(folder)
        write_tokenizer(folder)
        return folder

    return make
