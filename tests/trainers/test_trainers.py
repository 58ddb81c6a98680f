"""What each trainer can do on which card, with a reason for each choice."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.catalog import list_gpus, load_gpu
from launcher.errors import Unreadable
from launcher.planning.plan import SETTINGS
from launcher.resources import resource
from launcher.trainers import all_trainers, default_trainer, get_trainer, quiet_environment, trainer_names

PAIRS = [(trainer, gpu) for trainer in trainer_names() for gpu in list_gpus()]


@pytest.mark.parametrize(("name", "card"), PAIRS)
@pytest.mark.parametrize("packing", [True, False])
def test_no_trainer_refuses_its_own_defaults(name: str, card: str, packing: bool) -> None:
    trainer, gpu = get_trainer(name), load_gpu(card)
    sound, why = trainer.packing(gpu, gpu.compute_dtype)
    choices: dict[str, tuple[Any, str]] = {
        "packing": (packing and sound, why),
        "attn_implementation": trainer.attention(gpu, packing and sound, gpu.compute_dtype),
        "optimizer": trainer.optimizer(gpu, "paged_adamw_8bit"),
        "kernels": trainer.kernels(gpu, "qlora", gpu.compute_dtype, 0.0),
    }
    for setting, (value, reason) in choices.items():
        assert setting in SETTINGS
        assert reason
        assert trainer.supports(setting, value, gpu) is None
    assert trainer.refusals({setting: value for setting, (value, _) in choices.items()}, gpu) == []


@pytest.mark.parametrize(
    ("name", "card", "setting", "value", "reason"),
    [
        ("axolotl", "cpu", "kernels", ("lora",), "need a GPU"),
        ("axolotl", "v100-32gb", "kernels", ("liger",), "compute capability 7.5"),
        ("axolotl", "t4", "attn_implementation", "flash_attention_2", "8.0"),
        ("axolotl", "cpu", "attn_implementation", "flash_attention_2", "needs a GPU"),
        ("axolotl", "cpu", "activation_offload", True, "no GPU memory"),
        ("unsloth", "h100", "kernels", ("liger",), "always on"),
        ("unsloth", "h100", "attn_implementation", "flash_attention_2", "chooses its own"),
        ("unsloth", "cpu", "packing", True, "does not pack"),
        ("unsloth", "cpu", "optimizer", "paged_adamw_8bit", "adamw_torch_fused"),
        ("unsloth", "cpu", "activation_offload", True, "no GPU memory"),
    ],
)
def test_what_cannot_be_done_is_refused(name: str, card: str, setting: str, value: Any, reason: str) -> None:
    trainer, gpu = get_trainer(name), load_gpu(card)
    assert reason in (trainer.supports(setting, value, gpu) or "")
    (problem,) = trainer.refusals({setting: value, "gradient_checkpointing": True}, gpu)
    assert problem.message.startswith(f"{setting} ")


@pytest.mark.parametrize(
    ("name", "setting", "value"),
    [
        ("axolotl", "attn_implementation", "flash_attention_2"),
        ("axolotl", "kernels", ("lora", "liger")),
        ("axolotl", "activation_offload", True),
        ("axolotl", "packing", True),
        ("unsloth", "packing", True),
        ("unsloth", "optimizer", "paged_adamw_8bit"),
        ("unsloth", "activation_offload", True),
    ],
)
def test_what_can_be_done_is_not_refused(name: str, setting: str, value: Any) -> None:
    assert get_trainer(name).supports(setting, value, load_gpu("a10g")) is None


@pytest.mark.parametrize("name", trainer_names())
def test_offload_needs_checkpointing(name: str) -> None:
    trainer, gpu = get_trainer(name), load_gpu("a10g")
    (problem,) = trainer.refusals({"activation_offload": True, "gradient_checkpointing": False}, gpu)
    assert "needs gradient_checkpointing" in problem.message
    assert trainer.refusals({"activation_offload": True, "gradient_checkpointing": True}, gpu) == []


def test_packed_rows_get_an_attention_that_keeps_them_apart() -> None:
    axolotl = get_trainer("axolotl")
    assert axolotl.attention(load_gpu("a10g"), True, "bfloat16")[0] == "flash_attention_2"
    assert axolotl.attention(load_gpu("h100"), True, "bfloat16")[0] == "sdpa"


def test_fused_lora_is_for_16_bit_without_dropout() -> None:
    axolotl, gpu = get_trainer("axolotl"), load_gpu("a10g")
    assert axolotl.kernels(gpu, "qlora", "float16", 0.0)[0] == ("lora", "liger")
    assert axolotl.kernels(gpu, "qlora", "float16", 0.1)[0] == ("liger",)
    assert axolotl.kernels(gpu, "qlora", "float32", 0.0)[0] == ("liger",)
    assert axolotl.kernels(load_gpu("cpu"), "qlora", "float32", 0.0)[0] == ()


@pytest.mark.parametrize("name", trainer_names())
def test_the_files_it_names_are_there(name: str) -> None:
    trainer = get_trainer(name)
    for source in (*trainer.templates.values(), *trainer.copies.values()):
        assert resource("templates", source).is_file()
    assert resource("schemas", trainer.schema).is_file()


def test_an_unknown_trainer_gets_the_nearest_name() -> None:
    with pytest.raises(Unreadable) as refused:
        get_trainer("unslot")
    assert "unsloth" in str(refused.value)


@pytest.mark.parametrize(
    ("folder", "taken"),
    [("/a[1]/b", "[1]"), ("/exp*/b", "*"), ("/what?/b", "?"), ("/$HOME/b", "$HOME"), ("/a/${x}", "${x}")],
)
def test_axolotl_reads_no_data_where_its_path_is_a_pattern(folder: str, taken: str) -> None:
    assert f"takes {taken!r} in the path" in str(get_trainer("axolotl").folder_fault(folder))
    assert get_trainer("unsloth").folder_fault(folder) is None


@pytest.mark.parametrize("folder", ["/a b/ü", "/a[/b]", "/50% #1/'q\"", "/~x/{a}", "/a$/b", "/a:b\\"])
def test_axolotl_reads_data_in_other_odd_folders(folder: str) -> None:
    assert get_trainer("axolotl").folder_fault(folder) is None


def test_no_trainer_sends_anything_home() -> None:
    found = quiet_environment()
    assert found["AXOLOTL_DO_NOT_TRACK"] == found["UNSLOTH_DISABLE_STATISTICS"] == "1"


def test_one_trainer_runs_where_nobody_chose() -> None:
    assert [trainer.name for trainer in all_trainers() if trainer.is_default] == [default_trainer().name]
