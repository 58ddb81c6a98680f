"""A third trainer is one folder, a template and a schema: planned, sized, rendered, validated, read back, offered."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from third import Third, with_plain


@pytest.fixture(scope="module")
def third(tmp_path_factory: pytest.TempPathFactory) -> Third:
    return with_plain(tmp_path_factory.mktemp("third"))


def test_it_is_planned_and_sized(third: Third) -> None:
    said = third.json("estimate", "--preset", "a10g-7b", "--backend", "plain")
    assert said["backend"] == "plain"
    assert said["vram"]["fits"]
    assert sum(said["vram"]["breakdown_gib"].values()) == pytest.approx(said["vram"]["peak_gib"], abs=0.1)
    assert said["throughput"]["tokens_per_second"] > 0
    refused = third.ql("estimate", "--preset", "a10g-7b", "--backend", "plain", "--set", "packing=true", code=1)
    assert not refused


def test_it_competes_with_the_others(third: Third) -> None:
    said = third.json("estimate", "--preset", "h100-7b", "--backend", "auto")
    (why,) = (reason["reason"] for reason in said["reasons"] if reason["field"] == "backend")
    assert "Plain" in why or said["backend"] == "plain"


def test_it_is_rendered_and_its_config_is_valid(third: Third, tickets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    third.ql("export", "--preset", "cpu-tiny", "--backend", "plain", "--data", str(tickets), "-o", str(folder))
    assert {"config.yaml", "train.py", "plain.json"} <= {path.name for path in folder.iterdir()}
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    assert (config["load_in_4bit"], config["train_file"], config["lora_r"]) == (True, "data/train.jsonl", 16)
    assert third.ql("validate", str(folder / "config.yaml"), "--strict", "--with-data")
    (folder / "config.yaml").write_text("lora_rank: 8\n" + (folder / "config.yaml").read_text(encoding="utf-8"))
    (finding,) = third.json("validate", str(folder / "config.yaml"), code=1)["findings"]
    assert (finding["code"], finding["line"]) == ("QL101", 1)


def test_an_edited_config_comes_back_as_the_plan_that_wrote_it(third: Third, tickets: Path, tmp_path: Path) -> None:
    folder = tmp_path / "export"
    words = ["--backend", "plain", "--data", str(tickets), "--set", "lora_r=4"]
    third.ql("export", "--preset", "cpu-tiny", *words, "-o", str(folder))
    edited = str(folder / "config.yaml")
    assert "lora_r" in third.ql("launch", "--config", edited, "--gpu", "cpu", "--dry-run")
    assert "plain" in third.ql("validate", "--help")


def test_the_others_are_as_they_were(third: Third, tickets: Path) -> None:
    said = third.json("estimate", "--preset", "cpu-tiny", "--data", str(tickets))
    assert said["backend"] == "axolotl"
