from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.catalog import list_presets, load_preset
from launcher.cli.main import main

UNEVEN = "hidden_size=4096,intermediate_size=11008,num_layers=32,vocab_size=32000"
MUCH = ("--rows", "10000", "--row-tokens", "400")


def estimate(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["estimate", *arguments])


def facts(*arguments: str) -> Any:
    result = estimate(*arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("preset", list_presets())
def test_every_preset_has_an_estimate_that_fits_with_the_documented_fields(preset: str) -> None:
    found = facts("--preset", preset)
    assert {"compute_dtype", "method", "backend", "sequence_len", "hours", "usd"} <= set(found)
    assert found["micro_batch_size"] * found["gradient_accumulation_steps"] == 16
    vram = found["vram"]
    assert vram["fits"]
    assert vram["allocated_gib"] <= vram["peak_gib"] <= vram["budget_gib"] < vram["usable_gib"]
    assert sum(vram["breakdown_gib"].values()) == pytest.approx(vram["peak_gib"], abs=0.02)
    assert (found["throughput"]["tokens_per_second"] is None) == (preset == "cpu-tiny")
    assert {"field", "value", "reason"} == set(found["reasons"][0])
    assert {"compute_dtype", "micro_batch_size"} <= {reason["field"] for reason in found["reasons"]}


def test_hours_and_dollars_come_with_the_amount_of_data() -> None:
    nothing, some = facts("--preset", "a10g-7b"), facts("--preset", "a10g-7b", *MUCH)
    assert nothing["hours"] is nothing["usd"] is None
    assert some["hours"] == pytest.approx(sum(some["hours_by_part"].values()), abs=0.01)
    assert some["usd"] == pytest.approx(some["hours"] * some["price"]["usd_per_hour"], abs=0.01)
    assert some["price"]["date"]
    assert facts("--preset", "a10g-7b", *MUCH, "--price", "2")["usd"] == pytest.approx(2 * some["hours"], abs=0.01)


def test_steps_that_are_asked_for_are_made_though_the_epochs_end_before() -> None:
    """Both trainers give max_steps precedence over num_epochs: they begin the rows anew until the steps are made."""
    few = ("--preset", "a10g-7b", "--rows", "160", "--row-tokens", "400", "--set", "eval_fraction=0")
    saves = facts(*few, "--max-steps", "1")["hours_by_part"]["train"]
    ten, ten_epochs = facts(*few, "--max-steps", "10"), facts(*few, "--max-steps", "100")
    assert ten["hours_by_part"]["train"] < ten_epochs["hours_by_part"]["train"]
    assert ten_epochs["hours_by_part"]["train"] - saves > 9 * (ten["hours_by_part"]["train"] - saves)
    assert facts(*few, "--set", "num_epochs=1")["hours"] == pytest.approx(ten["hours"], rel=0.01)


def test_a_data_file_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n} " * 20, "completion": f"answer {n}"} for n in range(200)]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert facts("--preset", "a10g-7b", "--data", str(path))["hours"] > 0
    path.write_text('{"prompt": "x"}\n')
    assert estimate("--preset", "a10g-7b", "--data", str(path)).exit_code == 1


def test_what_a_person_sets_counts() -> None:
    base = facts("--preset", "h100-7b", "--micro-batch", "2")["vram"]["peak_gib"]
    assert facts("--preset", "h100-7b", "--micro-batch", "2", "--seq-len", "1024")["vram"]["peak_gib"] < base
    assert facts("--preset", "h100-7b", "--micro-batch", "2")["micro_batch_size"] == 2
    mode = ("--micro-batch", "4", "--set", "gradient_checkpointing=true")
    axolotl, unsloth = (facts("--preset", "h100-7b", *mode, "--backend", name) for name in ("axolotl", "unsloth"))
    assert unsloth["vram"]["peak_gib"] != axolotl["vram"]["peak_gib"]
    assert unsloth["backend"] == "unsloth"
    assert facts("--preset", "h100-7b", "--method", "lora")["vram"]["breakdown_gib"]["base_weights"] > 12


def test_backend_auto_says_why() -> None:
    found = facts("--preset", "a10g-7b", "--backend", "auto")
    reason = next(reason["reason"] for reason in found["reasons"] if reason["field"] == "backend")
    assert "tokens/s" in reason
    assert {"axolotl": "Unsloth", "unsloth": "Axolotl"}[found["backend"]] in reason


def test_a_run_that_does_not_fit_exits_1_and_is_shown() -> None:
    result = estimate("--gpu", "a10g", "--model", "llama-2-70b")
    assert result.exit_code == 1
    assert "DOES NOT FIT" in result.stdout


def test_vram_stands_for_an_unknown_card() -> None:
    found = facts("--vram", "24", "--model", "mistral-7b")
    assert found["vram"]["usable_gib"] == 24
    assert found["throughput"]["tokens_per_second"] is None
    assert any("only the memory of this card is known" in note for note in found["notes"])
    smaller = facts("--preset", "h100-7b", "--vram", "16")
    assert smaller["vram"]["peak_gib"] < 16 < facts("--preset", "h100-7b")["vram"]["peak_gib"]
    named = estimate("--preset", "a10g-7b", "--vram", "12").output
    assert "on NVIDIA A10G 24GB with 12 GiB usable" in named
    assert named.count("A10G 24GB") == named.count("A10G 24GB with 12 GiB usable")
    known = facts("--vram", "24", "--tflops", "70", "--bandwidth", "600", "--model", "mistral-7b")
    assert known["throughput"]["tokens_per_second"] > 0
    assert any("only what was given is known" in note for note in known["notes"])


def test_numbers_given_by_hand_stand_for_an_unknown_model(tmp_path: Path) -> None:
    numbers = {"hidden_size": 4096, "intermediate_size": 14336, "num_attention_heads": 32, "vocab_size": 32768}
    by_hand = ",".join(f"{key}={value}" for key, value in numbers.items())
    known = facts("--gpu", "a10g", "--model", "mistral-7b", "--micro-batch", "1")
    found = facts(
        "--gpu", "a10g", "--micro-batch", "1", "--architecture",
        f"{by_hand},num_layers=32,num_key_value_heads=8,max_position_embeddings=32768",
    )  # fmt: skip
    assert found["vram"]["breakdown_gib"]["quantized_weights"] == known["vram"]["breakdown_gib"]["quantized_weights"]
    (tmp_path / "config.json").write_text(
        json.dumps(numbers | {"model_type": "mistral", "num_hidden_layers": 32, "num_key_value_heads": 8})
    )
    local = facts("--gpu", "a10g", "--micro-batch", "1", "--model", str(tmp_path), "--seq-len", "2048")
    assert local["vram"]["breakdown_gib"]["quantized_weights"] == known["vram"]["breakdown_gib"]["quantized_weights"]


def test_an_estimate_shows_limits_changes_and_both_methods() -> None:
    found = facts("--preset", "a10g-7b", *MUCH)
    assert found["limits"]["largest_micro_batch_size"] >= found["micro_batch_size"]
    assert found["limits"]["longest_sequence_len"] >= found["sequence_len"]
    sizes = [abs(change["delta_gib"]) for change in found["changes"]]
    assert sizes == sorted(sizes, reverse=True)
    assert [side["method"] for side in found["methods"]] == ["qlora", "lora"]
    assert found["methods"][0]["usd"] > 0
    assert "13 pairs" in found["quality_gap"]
    text = estimate("--preset", "a10g-7b", *MUCH).stdout
    for said in ("what would change it most", "what fits in this mode", "house rule", "benchmark suites cannot be run"):
        assert said in text


def test_a_few_rows_are_evaluated_as_a_launch_would() -> None:
    few = ("--preset", "a10g-7b", "--rows", "5", "--row-tokens", "300")
    assert facts(*few)["vram"]["evaluation_gib"] > 0
    assert facts(*few, "--set", "eval_fraction=0")["vram"]["evaluation_gib"] == 0


def test_padding_is_a_share_of_what_is_computed(tickets: Path) -> None:
    wanted = ("--preset", "a10g-7b", "--set", "packing=false", "--set", "micro_batch_size=16", "--data", str(tickets))
    share = facts(*wanted)["throughput"]["padding"]
    assert share > 0.1
    assert f"; {share:.0%} of what is computed is padding" in estimate(*wanted).stdout


def test_the_bar_ends_at_the_budget() -> None:
    line = next(
        line for line in estimate("--preset", "a10g-7b").stdout.splitlines() if line.startswith("device, training")
    )
    drawn = line.split()[-1]
    assert "|" in drawn
    assert drawn.index("|") >= drawn.count("#")
    assert estimate("--gpu", "a10g", "--model", "llama-2-70b").stdout.count(">") > 0


def test_compare_exits_1_where_no_card_can() -> None:
    assert estimate("--model", "llama-3.1-70b", "--compare").exit_code == 0
    too_much = ("--seq-len", "131072", "--micro-batch", "16")
    for wanted in (too_much, ("--set", "micro_batch_size=3")):
        result = estimate("--model", "llama-3.1-70b", "--compare", *wanted)
        assert result.exit_code == 1
        assert "h200" in result.stdout


def test_compare_gives_the_reason_of_a_card_that_cannot() -> None:
    found = facts("--model", "qwen2.5-7b", "--compare", *MUCH)
    refused = {one["gpu"]: one["refused"] for one in found if "refused" in one}
    assert set(refused) == {"t4", "v100-32gb"}
    assert "overflows float16" in refused["t4"][0]
    line = next(line for line in estimate("--model", "qwen2.5-7b", "--compare").stdout.splitlines() if "t4" in line)
    assert "cannot: qwen2 overflows float16" in line


def test_compare_shows_all_cards_with_the_cheapest_and_the_fastest_that_fit() -> None:
    found = facts("--model", "llama-2-13b", "--compare", *MUCH)
    assert {"a10g", "4090", "h100"} <= {one["gpu"] for one in found}
    text = estimate("--model", "llama-2-70b", "--compare", *MUCH).stdout.splitlines()
    assert sum("cheapest" in line for line in text) == 1
    assert 1 <= sum("fastest" in line for line in text) <= 2  # H100 and H200 have one rate
    assert "does not fit" in next(line for line in text if line.startswith("a10g "))
    assert not any("cheapest" in line and "does not fit" in line for line in text)


def test_compare_says_that_one_price_is_of_every_card() -> None:
    wanted = ("--model", "llama-2-13b", "--compare", *MUCH)
    assert "every card is reckoned at $2 an hour" in estimate(*wanted, "--price", "2").stderr
    assert "every card" not in estimate(*wanted).stderr
    cheapest = [one["marks"] for one in facts(*wanted, "--price", "2") if "cheapest" in one.get("marks", ())]
    assert cheapest == [["cheapest", "fastest"]]


def test_compare_says_why_cards_of_different_rates_are_equally_fast() -> None:
    few = ("--rows", "1000", "--row-tokens", "60")
    text = estimate("--model", "llama-3.1-8b", "--compare", *few).stdout
    tied = sum(line.rstrip().endswith("fastest") for line in text.splitlines())
    assert tied > 1
    assert f"{tied} cards are equally fast" in text
    assert "equally fast" not in estimate("--model", "llama-2-13b", "--compare", *MUCH).stdout


def test_compare_leaves_a_named_card_that_cannot_to_the_others(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"prompt": "a", "completion": "b"}\n' * 40)
    for amount in (MUCH, ("--data", str(rows)), ()):
        found = {one["gpu"]: one for one in facts("--gpu", "t4", "--model", "qwen2.5-7b", "--compare", *amount)}
        assert "qwen2 overflows float16" in found["t4"]["refused"][0]
        assert found["t4"]["marks"] == []
        assert found["h100"]["vram"]["fits"]
        assert any("fastest" in one["marks"] for one in found.values())
    assert sum("cheapest" in one["marks"] for one in facts("--model", "mistral-7b", "--compare", *MUCH)) == 1


@pytest.mark.parametrize("wanted", [("--preset", "3090-32b"), ("--model", "qwen2.5-32b")], ids=["preset", "model"])
def test_compare_says_of_no_card_that_it_cannot_where_one_of_the_trainers_can(wanted: tuple[str, ...]) -> None:
    """Every card that has a preset of that size fits, whichever trainer the preset names."""
    found = {one["gpu"]: one for one in facts(*wanted, "--compare", *MUCH)}
    for preset in (load_preset(name) for name in list_presets()):
        if preset.model == "qwen2.5-32b":
            assert found[preset.gpu]["vram"]["fits"], preset.name
    assert found["3090"]["backend"] == "unsloth"
    assert found["a100-80gb"]["backend"] == "axolotl"
    asked = {one["gpu"]: one for one in facts(*wanted, "--compare", "--backend", "axolotl", *MUCH)}
    assert not asked["3090"]["vram"]["fits"], "what the person asks for stays"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--preset NAME"),
        (("--preset", "a10g-7b", "--max-steps", str(10**20)), "--max-steps: max_steps must be at most 10000000"),
        (("--gpu", "a10g"), "--model is missing"),
        (("--compare",), "--model is missing"),
        (("--model", "mistral-7b"), "--gpu is missing"),
        (("--preset", "a10g-7b", "--rows", "10"), "go together"),
        (("--preset", "a10g-7b", "--data", "x.jsonl", *MUCH), "give one"),
        (("--preset", "a10g-7b", "--tflops", "70"), "go together"),
        (("--preset", "a10g-7b", "--tflops", "70", "--bandwidth", "600"), "give its --vram"),
        (("--gpu", "a10g", "--architecture", "hidden_size=x,layers=2"), "did you mean 'num_layers'?"),
        (("--gpu", "a10g", "--model", "mistral-7b", "--architecture", "hidden_size=2"), "give one"),
        (
            ("--gpu", "a10g", "--architecture", f"{UNEVEN},num_attention_heads=33"),
            "no multiple of num_attention_heads 33",
        ),
        (
            ("--gpu", "a10g", "--architecture", f"{UNEVEN},num_attention_heads=32,num_key_value_heads=7"),
            "no multiple of num_key_value_heads 7",
        ),
        (("--preset", "a10g-7"), "did you mean 'a10g-7b'"),
        (("--preset", "a10g-7b", "--data", "nothing.jsonl"), "nothing.jsonl"),
        (("--preset", "a10g-7b", "--vram", "nan"), "nan is not a finite number"),
        (("--preset", "a10g-7b", "--vram", "inf"), "inf is not a finite number"),
        (("--preset", "a10g-7b", "--price", "nan", *MUCH), "nan is not a finite number"),
        (("--model", "mistral-7b", "--compare", "--vram", "10"), "--vram describes another"),
        (
            ("--preset", "a10g-7b", "--seq-len", "64", "--set", "sequence_len=128"),
            "--seq-len 64 and --set sequence_len",
        ),
        (("--preset", "a10g-7b", "--method", "auto", "--set", "method=qlora"), "contradict each other"),
        (("--preset", "a10g-7b", "--backend", "auto", "--set", "backend=axolotl"), "contradict each other"),
        (("--preset", "a10g-7b", "--compute-dtype", "bfloat16", "--set", "compute_dtype=float16"), "contradict"),
    ],
)
def test_wrong_use_is_said_in_words(arguments: tuple[str, ...], said: str) -> None:
    result = estimate(*arguments)
    assert result.exit_code == 2
    assert said in result.output
