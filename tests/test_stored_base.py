"""A base that is in 4 bit on disk: what is read of it, and what the plan makes of that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.catalog import Stored, load_model
from launcher.catalog.stored import read_stored
from launcher.errors import BadInput, Unreadable
from launcher.planning.decide import make_plan
from launcher.planning.estimate import memory_request
from launcher.planning.plan import Plan
from launcher.preparing.request import make_request
from launcher.trainers import get_trainer
from tests.support.stored_base import LLAMA, QUANTISED, write_stored_base


def plan(base: Path, gpu: str = "a10g", **asked: Any) -> Plan:
    return make_plan(make_request(gpu=gpu, model=str(base), **asked))


@pytest.mark.parametrize(
    ("state", "config", "dtype"),
    [
        ("bfloat16", {"dtype": "float16"}, "bfloat16"),  # the weights know better than config.json
        ("float16", {}, "float16"),
        (None, {"torch_dtype": "bfloat16"}, "bfloat16"),  # only config.json is here
        (None, {"dtype": "torch.float16"}, "float16"),
        (None, {}, None),
    ],
)
def test_the_dtype_it_dequantises_to(tmp_path: Path, state: str | None, config: dict[str, Any], dtype: str) -> None:
    base = write_stored_base(tmp_path / "base", state, config=config)
    assert load_model(str(base)).stored == Stored("nf4", True, dtype)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "quantised",
    [None, {}, QUANTISED | {"load_in_4bit": False}, "x"],
)
def test_any_other_base_is_not_stored_in_4_bit(tmp_path: Path, quantised: Any) -> None:
    base = write_stored_base(tmp_path / "base", "bfloat16", config={"quantization_config": quantised})
    assert load_model(str(base)).stored is None


@pytest.mark.parametrize(
    ("quantised", "said"),
    [
        ({"quant_method": "gptq", "bits": 4}, "gptq"),
        ({"quant_method": "fp8"}, "fp8"),
        ({"load_in_8bit": True}, "8 bit by bitsandbytes"),
    ],
)
def test_a_base_that_is_quantised_in_another_way_is_refused_when_planning(
    tmp_path: Path, quantised: Any, said: str
) -> None:
    base = write_stored_base(tmp_path / "base", None, config={"quantization_config": quantised})
    with pytest.raises(Unreadable, match=f"stored quantised .{said}.: it cannot be trained on") as caught:
        load_model(str(base))
    assert caught.value.problems[0].file == str(base / "config.json")


@given(st.binary(max_size=200))
def test_broken_weights_leave_the_dtype_to_config_json(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    folder = tmp_path_factory.mktemp("base")
    (folder / "model.safetensors").write_bytes(data)
    config = LLAMA | {"quantization_config": QUANTISED, "dtype": "float16"}
    assert read_stored(folder, config) == Stored("nf4", True, "float16")


def test_the_lora_kernels_are_left_out_where_the_dtypes_differ_and_the_plan_says_why(tmp_path: Path) -> None:
    base = write_stored_base(tmp_path / "base", "bfloat16")
    made = plan(base)
    assert (made.compute_dtype, made.kernels) == ("float16", ("liger",))
    assert "fail in float16 on a base stored in NF4, from bfloat16" in made.reasons["kernels"]
    same = plan(base, settings={"compute_dtype": "bfloat16"})
    assert same.kernels == ("lora", "liger")
    assert plan(write_stored_base(tmp_path / "fp16", "float16")).kernels == ("lora", "liger")
    assert plan(base, backend="unsloth").kernels == ()


def test_they_are_refused_to_a_person_who_sets_them(tmp_path: Path) -> None:
    base = write_stored_base(tmp_path / "base", "bfloat16")
    with pytest.raises(BadInput, match=r"kernels=\[liger\]"):
        plan(base, settings={"kernels": ["lora", "liger"]})
    assert plan(base, "h100", settings={"kernels": ["lora", "liger"]}).kernels == ("lora", "liger")


def test_how_it_is_quantised_is_not_ours_to_choose(tmp_path: Path) -> None:
    base = write_stored_base(tmp_path / "base", "float16", kind="fp4")
    made = plan(base)
    assert (made.quant_type, made.reasons["quant_type"]) == ("fp4", "as the base is stored")
    with pytest.raises(BadInput, match="quant_type nf4: the base is stored with fp4"):
        plan(base, settings={"quant_type": "nf4"})
    with pytest.raises(BadInput, match="lora trains on a base in 16 bit"):
        plan(base, method="lora")
    assert plan(base, "h100", method="auto").method == "qlora"


def test_the_estimate_loads_no_16_bit_weights(tmp_path: Path) -> None:
    stored = make_request(gpu="a10g", model=str(write_stored_base(tmp_path / "base", "float16")))
    plain = make_request(
        gpu="a10g", model=str(write_stored_base(tmp_path / "x", None, config={"quantization_config": 0}))
    )
    assert memory_request(make_plan(stored).to_dict(), stored).prequantized
    assert not memory_request(make_plan(plain).to_dict(), plain).prequantized


def test_a_repair_reaches_the_trainers_keys() -> None:
    keys = get_trainer("axolotl").launch.keys_of({"kernels": ["liger"], "compute_dtype": "bfloat16"})
    assert keys == {
        "lora_mlp_kernel": False, "lora_qkv_kernel": False, "lora_o_kernel": False, "bf16": True, "fp16": False,
    }  # fmt: skip
