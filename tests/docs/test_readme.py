"""The figures of the README are those of the pages that it points to, which are made from the measurements."""

from __future__ import annotations

import re
from pathlib import Path

from launcher.catalog import list_gpus, load_gpu

ROOT = Path(__file__).resolve().parents[2]


def page(name: str) -> str:
    return " ".join((ROOT / "docs" / name).read_text(encoding="utf-8").split())


def measured() -> str:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    return text.partition("## What was measured")[2].partition("\n## ")[0]


def test_the_presets_that_are_proven() -> None:
    (proven,) = re.findall(r"(\d+ of \d+) presets are proven", page("presets.md"))
    assert f"[{proven}](docs/presets.md)" in measured()
    assert "0 ran out of memory" in page("presets.md")


def test_the_blind_test() -> None:
    text = page("memory.md")
    first_sight = text.partition("## A blind test")[2]
    found = [
        re.findall(rf"\| {name} \| device \| \d+ \| ([\d.]+)% \| [-+]([\d.]+)%", first_sight)[0]
        for name in ("axolotl", "unsloth")
    ]
    means, worst = zip(*found, strict=True)
    assert "{} % with Axolotl and {} % with Unsloth".format(*means) in measured()
    assert f"{max(worst, key=float)} % at most" in measured()
    (fitting, wrong) = re.findall(r"of (\d+) that were called fitting (\d+) ran out", first_sight)[0]
    assert f"of {fitting} that were called fitting under a cap, {wrong} ran out" in measured()
    (cases,) = re.findall(r"The predictions of (\d+) cases", text)
    assert f"{cases} cases" in measured()
    assert "cases are measured so far" not in text


def test_the_speed_on_another_card() -> None:
    count, error = re.findall(r"(\d+) presets by `ql calibrate` .*?mean absolute error ([\d.]+)%", page("speed.md"))[0]
    assert count == "5"
    assert f"[{error} %](docs/speed.md)" in measured()
    assert "over five presets" in measured()
    others = page("speed.md").partition("## Against what others published")[2].partition("## ")[0]
    off = [int(error) for error in re.findall(r"\| [-+](\d+)%", others)]
    assert f"by {min(off)} to {max(off)} % against what others published" in measured()


def test_qlora_against_lora() -> None:
    section = (ROOT / "docs" / "presets.md").read_text(encoding="utf-8").partition("## QLoRA against LoRA")[2]
    rows = re.findall(r"\| \d+ x \d+ \| ([\d.]+) \| ([\d.]+) \| [\d,]+ \| [\d,]+ \| ([-+]\d+)% \|", section)
    assert len(rows) == 4
    shares = [float(qlora) / float(lora) for qlora, lora, _ in rows]
    longest = max(int(extra) for *_, extra in rows)
    said = f"[{100 * min(shares):.0f} to {100 * max(shares):.0f} % of the memory, and up to {longest} % longer]"
    assert said in measured()


def test_the_answer_to_ten_dollars() -> None:
    assert "**10,000 examples: yes**" in page("cost.md")
    assert "**50,000 examples: it depends**" in page("cost.md")
    assert "10,000 examples: [yes](docs/cost.md); 50,000: it depends" in measured()


def test_an_estimate_calls_no_card_unchecked_that_the_page_on_speed_checks() -> None:
    others = (ROOT / "docs" / "speed.md").read_text(encoding="utf-8").partition("## Against what others published")[2]
    cards = set(re.findall(r"^\| (\S+) \| \S+ \| q?lora,", others.partition("\n## ")[0], re.MULTILINE))
    assert "presets by `ql calibrate` on an NVIDIA H100 80GB HBM3, timed alone" in page("speed.md")
    assert "fitted to one H200" in page("speed.md")
    assert cards | {"h100", "h200"} == {name for name in list_gpus() if load_gpu(name).speed_checked}
