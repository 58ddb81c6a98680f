"""The model card: it says what the manifest says, and the hub's own library reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from launcher.catalog import list_presets
from launcher.report.card import HUB_LICENSES, render_card
from launcher.runs.results.model_cards import write_cards
from manifests import SCORES, finished_run


def card_of(path: Path) -> Any:
    """The card as huggingface_hub reads it: a broken one raises ValueError there."""
    hub = pytest.importorskip("huggingface_hub")
    return hub.ModelCard.load(path)


@pytest.mark.parametrize("preset", [*list_presets()[::7], "cpu-tiny", "a100-80gb-70b"])
@pytest.mark.parametrize("subject", ["adapter", "merged"])
def test_the_hubs_library_takes_the_card(tmp_path: Path, preset: str, subject: str) -> None:
    run = finished_run(tmp_path, preset)
    write_cards(run)
    card = card_of(run.path / subject / "README.md")
    plan = run.plan
    assert card.data.library_name == {"adapter": "peft", "merged": "transformers"}[subject]
    assert card.data.license in (*HUB_LICENSES, "other")
    assert card.data.license != "other" or card.data.license_name
    if preset == "cpu-tiny":
        assert card.data.base_model is None  # a folder of this machine is nobody else's model
    else:
        assert card.data.base_model == plan["base_model"]
    results = {result.metric_type: result.metric_value for result in card.data.eval_results}
    assert results == SCORES[subject]
    assert "{" not in card.text
    assert "None" not in card.text


def test_the_card_says_what_was_done(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    text = render_card(run.record, "merged")
    for said in (
        "a" * 64, "b" * 64, "c" * 64, "918 trained, 102 held out", "| learning_rate | 0.0002 |", "KL 1.7e-08", "0.09%",
        "nf4, double quantisation", "mistralai/Mistral-7B-v0.3", "| merged | 0.950 | 0.970 |",
        "best evaluation loss 0.25",
        "gate `exact_match>=0.8`: passed", "axolotl 0.19.0",
    ):  # fmt: skip
        assert said in text, said
    assert "/home/someone" not in text


def test_the_tables_are_tables(tmp_path: Path) -> None:
    """Each header is followed by its rule and its rows, with no empty line between them."""
    lines = render_card(finished_run(tmp_path).record, "merged").splitlines()
    rules = [index for index, line in enumerate(lines) if line.startswith("|---")]
    assert len(rules) == 4
    for index in rules:
        assert lines[index - 1].startswith("|")
        assert lines[index + 1].startswith("|")
        assert lines[index - 1].count("|") == lines[index].count("|") == lines[index + 1].count("|")


def test_the_adapters_card_loads_the_base_as_in_training(tmp_path: Path) -> None:
    text = render_card(finished_run(tmp_path).record, "adapter")
    code = text.partition("```python\n")[2].partition("```")[0]
    compile(code, "card", "exec")
    assert 'bnb_4bit_quant_type="nf4"' in code
    assert "Fidelity" not in text


def test_a_lora_card_quantises_nothing(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    run.record.plan |= {"method": "lora", "quant_type": None, "double_quant": False}
    for subject in ("adapter", "merged"):
        text = render_card(run.record, subject)
        assert "BitsAndBytes" not in text
        assert "4-bit" not in text


def test_what_went_wrong_is_a_limit(tmp_path: Path) -> None:
    gate = {"gate": "exact_match>=0.99", "passed": False, "reason": "merged exact_match 0.95 is below 0.99"}
    run = finished_run(tmp_path, gates=[gate], notes=["a note of the run"])
    assert run.record.training is not None
    run.record.training.skipped_steps = 3
    run.record.plan["max_steps"] = 60
    text = render_card(run.record, "merged").partition("## Limits")[2]
    for said in ("missed a gate", "3 optimizer steps", "stopped after 60 steps", "a note of the run"):
        assert said in text, said


def test_what_was_mended_is_said_beside_the_recipe(tmp_path: Path) -> None:
    run = finished_run(tmp_path)
    assert "Mended" not in render_card(run.record, "merged")
    run.record_repair(
        stage="train", kind="fp16_overflow", cause="float16 overflowed", action="on in bfloat16", step=7,
        before={"compute_dtype": "float16"}, after={"compute_dtype": "bfloat16"},
    )  # fmt: skip
    recipe = render_card(run.record, "merged").partition("## Recipe")[2].partition("## Scores")[0]
    assert "- float16 overflowed at step 7: on in bfloat16" in recipe


def test_an_unscored_run_says_so(tmp_path: Path) -> None:
    run = finished_run(tmp_path, golden=None, golden_scores={}, gates=[])
    write_cards(run)
    assert "Not scored" in (run.path / "merged" / "README.md").read_text()
    assert card_of(run.path / "merged" / "README.md").data.eval_results is None


def test_only_what_is_there_gets_a_card(tmp_path: Path) -> None:
    import shutil

    run = finished_run(tmp_path)
    shutil.rmtree(run.path / "merged")
    assert write_cards(run) == [run.path / "adapter" / "README.md"]
