"""The plan: every value has a reason, layers win in their order, and what cannot go together is refused at once."""

from __future__ import annotations

from typing import Any

import pytest

from launcher.catalog import list_presets
from launcher.data.facts import DataFacts
from launcher.errors import BadInput, Unreadable
from launcher.planning.decide import make_plan
from launcher.planning.estimate import estimate_plan_memory
from launcher.planning.plan import SETTINGS, WHOLE, Plan
from launcher.preparing.request import make_request, parse_settings


def plan(preset: str | None = "a10g-7b", **asked: Any) -> Plan:
    return make_plan(make_request(preset=preset, **asked))


def facts(**changes: Any) -> DataFacts:
    values: dict[str, Any] = {
        "rows": 1000, "eval_rows": 50, "conversational": True, "tokens_total": 200_000, "tokens_mean": 200.0,
        "tokens_p95": 400, "tokens_max": 500, "exact": True,
    }  # fmt: skip
    return DataFacts(**values | changes)


@pytest.mark.parametrize("name", list_presets())
@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_every_preset_plans_with_a_reason_for_each_setting(name: str, backend: str) -> None:
    made = plan(name, backend=backend)
    assert set(made.reasons) == set(SETTINGS)
    assert all(made.reasons.values())
    assert made.micro_batch_size * made.gradient_accumulation_steps == made.effective_batch_size


def test_the_same_request_gives_the_same_plan() -> None:
    assert plan() == plan()


@pytest.mark.parametrize(("preset", "dtype"), [("a10g-7b", "float16"), ("4090-7b", "float16"), ("h100-7b", "bfloat16")])
def test_the_house_rule_of_dtypes(preset: str, dtype: str) -> None:
    assert plan(preset).compute_dtype == dtype


def test_a_family_that_overflows_float16_gets_bfloat16_where_the_card_has_it() -> None:
    made = plan(model="gemma-2-9b")
    assert made.compute_dtype == "bfloat16"
    assert "overflow" in made.reasons["compute_dtype"]


def test_a_family_that_overflows_is_refused_on_a_card_without_bfloat16_unless_the_person_insists() -> None:
    with pytest.raises(BadInput, match="overflows float16"):
        plan(None, gpu="t4", model="qwen2.5-7b")
    assert plan(None, gpu="t4", model="qwen2.5-7b", settings={"compute_dtype": "float16"}).compute_dtype == "float16"


def test_bfloat16_on_a_card_without_it_is_refused() -> None:
    with pytest.raises(BadInput, match="no bfloat16"):
        plan("t4-7b", settings={"compute_dtype": "bfloat16"})


def test_what_the_person_sets_wins_and_is_said() -> None:
    made = plan(settings={"lora_r": 64, "learning_rate": 1e-4})
    assert (made.lora_r, made.learning_rate) == (64, 1e-4)
    assert made.reasons["lora_r"] == "set by you"


def test_accumulation_follows_the_micro_batch() -> None:
    made = plan(settings={"micro_batch_size": 4, "effective_batch_size": 32})
    assert made.gradient_accumulation_steps == 8


def test_a_batch_that_cannot_be_reached_is_refused() -> None:
    with pytest.raises(BadInput, match="does not divide"):
        plan(settings={"micro_batch_size": 5})
    with pytest.raises(BadInput, match="not the effective_batch_size 16"):
        plan(settings={"micro_batch_size": 2, "gradient_accumulation_steps": 2, "effective_batch_size": 16})


def test_all_problems_come_at_once() -> None:
    settings = {"micro_batch_size": 5, "sequence_len": 1_000_000, "attn_implementation": "flash_attention_2"}
    with pytest.raises(BadInput) as caught:
        plan("t4-7b", settings=settings)
    assert len(caught.value.problems) == 3


def test_the_sequence_length_follows_the_longest_row() -> None:
    request = make_request(preset="a10g-7b", data=facts(tokens_max=500))
    assert make_plan(request).sequence_len == 512
    long = make_request(preset="a10g-7b", data=facts(tokens_max=9000))
    assert make_plan(long).sequence_len == 2048


def test_estimated_lengths_do_not_shorten_the_sequence() -> None:
    request = make_request(preset="a10g-7b", data=facts(tokens_max=500, exact=False))
    assert make_plan(request).sequence_len == 2048


def test_without_evaluation_rows_the_last_checkpoint_ships() -> None:
    assert make_plan(make_request(preset="a10g-7b", data=facts(eval_rows=0))).keep == "last"
    assert plan(settings={"eval_fraction": 0.0}).keep == "last"


def test_method_auto_takes_lora_where_it_fits() -> None:
    assert plan("h100-7b", method="auto").method == "lora"
    small = plan("a10g-13b", method="auto")
    assert small.method == "qlora"
    assert "GiB" in small.reasons["method"]


def test_lora_has_no_quantisation() -> None:
    made = plan("h100-7b", method="lora")
    assert made.quant_type is None
    assert not made.double_quant


def test_max_steps_makes_the_cadence_a_quarter_of_the_run() -> None:
    assert plan(settings={"max_steps": 8}).eval_interval == 0.25
    assert plan(settings={"num_epochs": 2}).eval_interval == 0.125


def test_settings_are_parsed_as_yaml_and_checked() -> None:
    assert parse_settings(["learning_rate=1e-4", "packing=true", "lora_target_modules=[q_proj]", "max_steps=null"]) == {
        "learning_rate": 1e-4, "packing": True, "lora_target_modules": ["q_proj"], "max_steps": None,
    }  # fmt: skip


def test_every_bad_setting_is_named_with_what_would_be_right() -> None:
    with pytest.raises(Unreadable) as caught:
        parse_settings(["learning_rat=1", "lora_r=many", "novalue", "num_epochs=-1", "seed=[1", "optimizer=adam"])
    text = str(caught.value)
    assert len(caught.value.problems) == 6
    for expected in (
        "did you mean 'learning_rate'?",
        "lora_r",
        "not key=value",
        "num_epochs",
        "not a YAML value",
        "adamw",
    ):
        assert expected in text


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("kernels=liger", r"a list, in brackets: \[liger\]"),
        ("lora_target_modules=[]", "lora_target_modules must not be empty"),
        ("chat_template=''", "chat_template must not be empty"),
        ("kernels=[liger, liger]", "kernels names something twice"),
    ],
)
def test_a_list_that_is_none_is_explained_in_words(pair: str, said: str) -> None:
    with pytest.raises(Unreadable, match=said):
        parse_settings([pair])


def test_a_chat_template_that_nobody_knows_is_refused_before_there_is_data() -> None:
    with pytest.raises(Unreadable, match="no chat template 'chatlm'") as caught:
        plan(settings={"chat_template": "chatlm"})
    assert caught.value.problems[0].hint == "did you mean 'chatml'? known: chatml, inst, llama3, gemma, tokenizer"
    for name in ("llama3", "tokenizer", "my.jinja"):
        assert plan(settings={"chat_template": name}).chat_template == name


@pytest.mark.parametrize(
    ("pair", "said"),
    [
        ("max_steps=1e20", "max_steps must be at most 10000000, not 1e+20"),
        ("learning_rate=.nan", "learning_rate must be a finite number, not nan"),
        ("learning_rate=.inf", "learning_rate must be a finite number, not inf"),
    ],
)
def test_a_number_that_is_none_is_said_once(pair: str, said: str) -> None:
    with pytest.raises(Unreadable) as caught:
        parse_settings([pair])
    assert [problem.message for problem in caught.value.problems] == [f"--set {said}"]


def test_too_little_to_plan_with() -> None:
    with pytest.raises(Unreadable, match="nothing to plan for"):
        make_request()
    with pytest.raises(Unreadable, match="--model is missing"):
        make_request(gpu="a10g")
    with pytest.raises(Unreadable, match="--gpu is missing"):
        make_request(model="mistral-7b")


def test_gpu_and_model_plan_without_a_preset() -> None:
    made = plan(None, gpu="l4", model="mistral-7b")
    assert made.preset is None
    assert made.gpu == "l4"


def test_counts_are_whole_numbers_however_they_were_written() -> None:
    made = plan(settings=parse_settings(["lora_r=16.0", "sequence_len=1e3", "effective_batch_size=8.0"]))
    counts = (made.lora_r, made.sequence_len, made.effective_batch_size, made.gradient_accumulation_steps)
    assert [str(count) for count in counts[:3]] == ["16", "1000", "8"]
    assert all(type(count) is int for count in counts)
    assert set(WHOLE) >= {"lora_r", "lora_alpha", "max_steps", "seed", "eval_batch_size"}


@pytest.mark.parametrize("backend", ["axolotl", "unsloth"])
def test_a_target_that_the_model_does_not_have_is_refused(backend: str) -> None:
    settings = {"lora_target_modules": ["q_proj", "c_attn"]}
    with pytest.raises(BadInput, match=r"c_attn: Mistral 7B v0\.3 has no such layer"):
        plan(backend=backend, settings=settings)
    with pytest.raises(BadInput, match=r"\.\*_proj: Mistral 7B v0\.3 has no such layer"):  # no layer's name ends so
        plan(backend=backend, settings={"lora_target_modules": [".*_proj"]})
    assert plan(backend=backend, settings={"lora_target_modules": ["q_proj", "self_attn.v_proj"]}).lora_target_modules
    assert plan(backend=backend, settings={"lora_target_modules": ["q_proj", "lm_head"]}).lora_target_modules
    one_layer = {"lora_target_modules": ["model.layers.31.mlp.up_proj"]}
    assert plan(backend=backend, settings=one_layer).lora_target_modules
    wrong = ["mlp.q_proj", "layers.32.mlp.up_proj", "j_proj"]  # PEFT takes a name for the end of a layer's path
    with pytest.raises(BadInput, match=", ".join(wrong)):
        plan(backend=backend, settings={"lora_target_modules": ["q_proj", *wrong]})


def test_a_target_by_its_path_is_sized_as_by_its_name() -> None:
    short, by_path = (
        make_request(preset="a10g-7b", settings={"lora_r": 256, "lora_target_modules": targets})
        for targets in (["q_proj", "down_proj"], ["self_attn.q_proj", "mlp.down_proj"])
    )
    sizes = [estimate_plan_memory(make_plan(request), request) for request in (short, by_path)]
    assert sizes[0] == sizes[1]
    assert sizes[0].breakdown_gib["adapter_gradients"] > 0.1


def test_a_bound_is_named_in_full() -> None:
    with pytest.raises(Unreadable, match="sequence_len must be at most 1048576, not 1048577"):
        parse_settings(["sequence_len=1048577"])


def test_settings_of_which_nothing_would_come_are_refused_all_at_once() -> None:
    asked = {"quant_type": "fp4", "double_quant": True, "keep": "best", "eval_fraction": 0}
    with pytest.raises(Unreadable) as caught:
        make_request(preset="h100-7b", method="lora", settings=asked)
    assert [problem.message.split()[0] for problem in caught.value.problems] == ["lora", "lora", "keep"]
    assert make_plan(make_request(preset="h100-7b", method="lora", settings={"double_quant": False})).method == "lora"
    auto = make_plan(make_request(preset="a10g-13b", method="auto", settings={"quant_type": "fp4"}))
    assert (auto.method, auto.quant_type) == ("qlora", "fp4")
