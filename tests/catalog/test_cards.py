"""What is known of a card is in its file, its named presets among it; code knows no card by name."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from launcher import resources
from launcher.catalog import list_gpus, list_models, list_presets, load, load_gpu, load_preset
from launcher.catalog.capability import has_bfloat16
from launcher.catalog.load import stand_in_gpu
from launcher.cli.main import main
from launcher.errors import Unreadable
from launcher.resources import PACKAGE, resource

NEW = """
title: Card of tomorrow
kind: cuda
vram_gib: 32
usable_gib: 31.2
compute_capability: 12.0
tflops_16bit: 209
bandwidth_gbs: 1792
compute_dtype: bfloat16
match: [NVIDIA Card of tomorrow]
presets:
  said: a card of tomorrow
  sizes: [7b, 32b]
"""


@pytest.fixture
def tomorrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ql's own files with one more, the card's."""
    for name in ("presets", "schemas", "templates"):
        shutil.copytree(resource(name), tmp_path / name)
    (tmp_path / "presets" / "gpus" / "tomorrow.yaml").write_text(NEW)

    def found(*parts: str) -> Path:
        path = tmp_path.joinpath(*parts)
        if not path.exists():
            raise FileNotFoundError(path)
        return path

    monkeypatch.setattr(load, "resource", found)
    monkeypatch.setattr(resources, "resource", found)


@pytest.mark.usefixtures("tomorrow")
def test_a_card_is_one_file() -> None:
    assert load_gpu("tomorrow").supports_bf16
    assert {"tomorrow-7b", "tomorrow-32b"} <= set(list_presets())
    preset = load_preset("tomorrow-32b")
    assert (preset.title, preset.model) == ("32B QLoRA on a card of tomorrow", "qwen2.5-32b")
    assert preset.settings == {"learning_rate": 0.0001}
    result = CliRunner().invoke(main, ["estimate", "--preset", "tomorrow-7b"])
    assert result.exit_code == 0, result.output
    assert "not checked against a run on that card" in result.output
    with pytest.raises(Unreadable, match="no such preset: 'tomorrow-70b'"):
        load_preset("tomorrow-70b")


@pytest.mark.usefixtures("tomorrow")
def test_a_size_that_is_none_is_said_with_its_file() -> None:
    path = load.resource("presets", "gpus", "tomorrow.yaml")
    path.write_text(NEW.replace("32b", "33b"))
    with pytest.raises(Unreadable, match=r"tomorrow\.yaml: no size '33b'"):
        load_preset("tomorrow-33b")


def test_no_card_stands_in_the_code() -> None:
    names = {name for name in list_gpus() if load_gpu(name).kind != "cpu"}
    found = [
        f"{path.relative_to(PACKAGE)}:{node.lineno}: {node.value}"
        for path in sorted(PACKAGE.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value in names
    ]
    assert found == []


def test_every_size_is_a_model_and_every_pair_a_preset() -> None:
    known = load._read(resource("presets", "sizes.yaml"), "sizes.json")
    assert {size["model"] for size in known["sizes"].values()} <= set(list_models())
    assert set(known["pairs"]) <= set(list_presets())
    for name in list_presets():
        assert load_preset(name).name == name


def test_what_needs_a_pair_comes_before_what_a_size_sets() -> None:
    assert list(load_preset("3090-32b").settings) == ["backend", "learning_rate"]


def test_one_card_stands_in_for_a_card_by_hand() -> None:
    assert load_gpu(stand_in_gpu()).supports_bf16


@pytest.mark.parametrize(("capability", "cpu", "has"), [(7.5, False, False), (8.0, False, True), (0.0, True, True)])
def test_bfloat16_from_ampere_on(capability: float, cpu: bool, has: bool) -> None:
    assert has_bfloat16(capability, is_cpu=cpu) is has
