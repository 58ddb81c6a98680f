from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from launcher.catalog import list_presets
from launcher.cli.main import main

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


def test_a_data_file_is_read(tmp_path: Path) -> None:
    rows = [{"prompt": f"question {n} " * 20, "completion": f"answer {n}"} for n in range(200)]
    path = tmp_path / "train.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert facts("--preset", "a10g-7b", "--data", str(path))["hours"] > 0
    path.write_text('{"prompt": "x"}\n')
    assert estimate("--preset", "a10g-7b", "--data", str(path)).exit_code == 1


def test_what_a_person_sets_counts() -> None:
    base = facts("--preset", "h100-7b")["vram"]["peak_gib"]
    assert facts("--preset", "h100-7b", "--seq-len", "1024")["vram"]["peak_gib"] < base
    assert facts("--preset", "h100-7b", "--micro-batch", "2")["micro_batch_size"] == 2
    assert facts("--preset", "h100-7b", "--backend", "unsloth")["vram"]["peak_gib"] < base
    assert facts("--preset", "h100-7b", "--method", "lora")["vram"]["breakdown_gib"]["base_weights"] > 12


def test_backend_auto_says_why() -> None:
    found = facts("--preset", "a10g-7b", "--backend", "auto")
    reason = next(reason["reason"] for reason in found["reasons"] if reason["field"] == "backend")
    assert "tokens/s" in reason
    assert {"axolotl", "unsloth"} - {found["backend"]} <= set(reason.replace(":", " ").split())


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
    assert smaller["micro_batch_size"] < facts("--preset", "h100-7b")["micro_batch_size"]


def test_compare_shows_all_cards_with_the_cheapest_and_the_fastest_that_fit() -> None:
    found = facts("--model", "llama-2-13b", "--compare", *MUCH)
    assert {"a10g", "4090", "h100"} <= {one["gpu"] for one in found}
    text = estimate("--model", "llama-2-70b", "--compare", *MUCH).stdout.splitlines()
    assert sum("cheapest" in line for line in text) == sum("fastest" in line for line in text) == 1
    assert "does not fit" in next(line for line in text if line.startswith("a10g "))
    assert not any("cheapest" in line and "does not fit" in line for line in text)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--preset NAME"),
        (("--preset", "a10g-7b", "--rows", "10"), "go together"),
        (("--preset", "a10g-7b", "--data", "x.jsonl", *MUCH), "give one"),
        (("--preset", "a10g-7"), "did you mean 'a10g-7b'"),
        (("--preset", "a10g-7b", "--data", "nothing.jsonl"), "nothing.jsonl"),
    ],
)
def test_wrong_use_is_said_in_words(arguments: tuple[str, ...], said: str) -> None:
    result = estimate(*arguments)
    assert result.exit_code == 2
    assert said in result.output
