"""The merged folder serves: what transformers and vLLM read beside the weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import BadInput
from launcher.merge import folder as small_files
from launcher.merge.manifest import check_folder
from launcher.records.codec import plain


def load(path: Path) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(path.read_text())
    return data


@pytest.fixture
def trained(make_base: Callable[..., Any], train: Callable[..., Any]) -> Any:
    return train(make_base(), target_modules=["q_proj"])


def test_what_vllm_needs_is_there(trained: Any, merge: Callable[..., Any]) -> None:
    """vLLM reads: architectures and dtype from config.json, every tensor through the index, the tokenizer with its chat
    template, and the stop tokens of generation_config.json."""
    folder, result = merge(trained, shard_bytes=200_000)
    config = load(folder / "config.json")
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert config["dtype"] == "float16"
    assert "torch_dtype" not in config
    assert "quantization_config" not in config
    index = load(folder / "model.safetensors.index.json")
    assert set(index["weight_map"].values()) == {path.name for path in folder.glob("*.safetensors")}
    assert index["metadata"]["total_size"] == 2 * 377472
    assert len(result["shards"]) > 3
    for name in ("tokenizer.json", "tokenizer_config.json", "generation_config.json"):
        assert (folder / name).is_file()
    assert not list(folder.glob(".*"))
    assert plain(check_folder(folder)) == result["shards"]


def test_shards_hold_what_the_index_says(trained: Any, merge: Callable[..., Any]) -> None:
    from safetensors import safe_open

    folder, _ = merge(trained, shard_bytes=200_000)
    weight_map = load(folder / "model.safetensors.index.json")["weight_map"]
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as shard:
            assert {name for name, file in weight_map.items() if file == path.name} == set(shard.keys())
            assert shard.metadata() == {"format": "pt"}


def test_the_trained_tokenizer_goes_along(trained: Any, merge: Callable[..., Any], tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    own = tmp_path / "tokenizer"
    own.mkdir()
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (own / name).write_bytes((trained.base / name).read_bytes())
    settings = load(own / "tokenizer_config.json")
    (own / "tokenizer_config.json").write_text(json.dumps({**settings, "pad_token": "<unk>", "chat_template": "old"}))
    template = tmp_path / "template.jinja"
    template.write_text("{% for m in messages %}{{ m['content'] }}<|im_end|>{% endfor %}")
    folder, _ = merge(trained, tokenizer=str(own), chat_template=str(template))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.pad_token == "<unk>"
    assert tokenizer.chat_template == template.read_text()
    assert tokenizer.apply_chat_template([{"role": "user", "content": "hello"}], tokenize=False) == "hello<|im_end|>"
    assert "chat_template" not in load(folder / "tokenizer_config.json")


@pytest.mark.parametrize(
    ("of_base", "wanted"),
    [
        (None, [3, 2]),  # the base's own eos stays a stop token, after the trained one
        ({"eos_token_id": [2, 5], "temperature": 0.6}, [3, 2, 5]),
        ({"eos_token_id": 3}, 3),
    ],
)
def test_generation_stops_where_training_did(
    trained: Any, merge: Callable[..., Any], of_base: dict[str, Any] | None, wanted: Any
) -> None:
    from transformers import GenerationConfig

    path = trained.base / "generation_config.json"
    path.unlink(missing_ok=True)
    if of_base is not None:
        path.write_text(json.dumps(of_base))
    folder, _ = merge(trained)
    generation = load(folder / "generation_config.json")
    assert generation["eos_token_id"] == wanted
    assert generation["pad_token_id"] == 4
    assert generation.get("temperature") == (of_base or {}).get("temperature")
    assert GenerationConfig.from_pretrained(folder).eos_token_id == wanted
    assert load(folder / "config.json")["eos_token_id"] == 3


@pytest.mark.parametrize(
    ("wanted", "model_type", "dtype", "reason"),
    [
        ("auto", "llama", "float16", "keeps more of a small delta"),
        ("auto", "gemma2", "bfloat16", "vLLM refuses float16"),
        ("auto", "gemma3_text", "bfloat16", "vLLM refuses float16"),
        ("bfloat16", "llama", "bfloat16", "asked for"),
        ("float16", "gemma2", "float16", "asked for, although vLLM refuses"),
    ],
)
def test_the_dtype_and_its_reason(wanted: str, model_type: str, dtype: str, reason: str) -> None:
    chosen, why = small_files.choose_dtype(wanted, {"model_type": model_type})
    assert chosen == dtype
    assert reason in why


def test_nested_configs_say_the_dtype_too() -> None:
    config = {
        "model_type": "gemma3",
        "text_config": {"torch_dtype": "float32", "vocab_size": 8},
        "torch_dtype": "float32",
    }
    merged = small_files.merged_config(config, "bfloat16", small_files.Tokens(None, None))
    assert merged == {
        "model_type": "gemma3",
        "text_config": {"dtype": "bfloat16", "vocab_size": 8},
        "dtype": "bfloat16",
    }


def test_no_tokenizer_anywhere_is_refused(trained: Any, merge: Callable[..., Any]) -> None:
    (trained.base / "tokenizer.json").unlink()
    with pytest.raises(BadInput, match="no tokenizer in"):
        merge(trained)


def test_trained_biases_go_in(trained: Any, make_base: Any, train: Any, merge: Callable[..., Any]) -> None:
    """bias: lora_only. peft 0.20 does not write these biases itself; with them in the file they are merged."""
    import torch
    from safetensors.torch import load_file, save_file

    qwen = train(make_base("qwen2", name="qwen"), target_modules=["q_proj"], bias="lora_only", name="biased")
    _, result = merge(qwen, name="without")
    assert any("the file holds no bias" in note for note in result["notes"])

    path = qwen.adapter / "adapter_model.safetensors"
    bias = torch.linspace(-1, 1, 128)
    save_file({**load_file(path), "base_model.model.model.layers.0.self_attn.q_proj.bias": bias}, path)
    folder, result = merge(qwen, name="with")
    assert result["notes"] == []
    stored = load_file(next(folder.glob("*.safetensors")))
    assert torch.equal(stored["model.layers.0.self_attn.q_proj.bias"], bias.half())


def test_added_tokens_change_the_vocabulary(make_base: Any, train: Any, merge: Callable[..., Any]) -> None:
    trained = train(make_base(), target_modules=["q_proj"], modules_to_save=["embed_tokens", "lm_head"], resize=520)
    folder, _ = merge(trained)
    assert load(folder / "config.json")["vocab_size"] == 520


def test_progress_tells_rate_and_time_left(trained: Any, tmp_path: Path) -> None:
    from launcher.records.jobs import MERGE

    messages: list[dict[str, Any]] = []
    request = {"base": str(trained.base), "adapter": str(trained.adapter), "out": str(tmp_path / "out")}
    MERGE.do({**request, "record": trained.record, "device": "cpu"}, messages.append)
    assert messages[-1]["fraction"] == 1.0
    assert "MB/s" in messages[-1]["text"]
    assert "0 s left" in messages[-1]["text"]
    assert sorted(m["fraction"] for m in messages) == [m["fraction"] for m in messages]
