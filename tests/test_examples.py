"""The embedded default: the example data, the golden set and the tiny Llama belong together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from launcher.data.formats import FORMATS, format_of, normalise
from launcher.data.read import detect_format
from launcher.golden.rows import read_golden
from launcher.records.jobs import ModelRequest
from launcher.resources import resource

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "examples"
MODEL = ROOT / "presets" / "models" / "cpu-tiny"


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def test_the_script_writes_the_examples_byte_for_byte(tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "scripts" / "make_examples.py", tmp_path], check=True)
    written = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*.jsonl")}
    shipped = {path.relative_to(EXAMPLES): path.read_bytes() for path in EXAMPLES.rglob("*.jsonl")}
    assert written == shipped


def test_the_golden_set_is_held_out_and_balanced() -> None:
    golden = read_golden(EXAMPLES / "golden.jsonl")
    asked = {row["messages"][0]["content"] for row in rows_of(EXAMPLES / "tickets.jsonl")}
    assert len(golden) >= 100
    assert not asked & {row.input for row in golden}
    counts = Counter(row.targets[0] for row in golden)
    assert max(counts.values()) / len(golden) <= 0.10


def test_the_training_rows_are_balanced_and_answer_as_the_golden_set_does() -> None:
    counts = Counter(row["messages"][-1]["content"] for row in rows_of(EXAMPLES / "tickets.jsonl"))
    assert len(set(counts.values())) == 1
    assert set(counts) == {row.targets[0] for row in read_golden(EXAMPLES / "golden.jsonl")}


@pytest.mark.parametrize("path", sorted((EXAMPLES / "formats").glob("*.jsonl")), ids=lambda path: path.stem)
def test_each_format_is_detected_and_says_the_same(path: Path) -> None:
    form = detect_format(path)
    assert form == path.stem
    answers = []
    for row in rows_of(path):
        assert format_of(row) == form
        out, told = normalise(row, form)
        assert not told.unread
        answers.append(out["messages"][-1]["content"] if "messages" in out else out["text"].rpartition("Queue: ")[2])
    chat = rows_of(EXAMPLES / "tickets.jsonl")[: len(answers)]
    assert answers == [row["messages"][-1]["content"] for row in chat]


def test_there_is_an_example_of_every_format() -> None:
    shown = {path.stem for path in (EXAMPLES / "formats").glob("*.jsonl")} | {"messages"}
    assert shown == set(FORMATS)


def test_the_tiny_model_is_small_and_described_as_it_is() -> None:
    from dataclasses import replace

    from launcher.catalog import load_model
    from launcher.catalog.local import model_from_folder

    assert sum(path.stat().st_size for path in MODEL.iterdir()) <= 4 * 2**20
    described = load_model("cpu-tiny")
    found = model_from_folder(MODEL, base_model=described.base_model)
    same = ("name", "title", "size", "license", "chat_template")  # a folder says nothing of these
    assert replace(found, **{key: getattr(described, key) for key in same}) == described


def test_the_tiny_tokenizer_has_what_the_chat_templates_need() -> None:
    from launcher.data.chat import load_chat_template
    from launcher.data.special import special_tokens

    for name, end in (("chatml", "<|im_end|>"), ("inst", "</s>")):
        tokens = special_tokens(MODEL, load_chat_template(name))
        assert (tokens["eot"], tokens["pad"]) == (end, "<pad>")


def test_the_script_makes_the_same_tokenizer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("peft")
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    import random

    import make_tiny_model

    make_tiny_model.make_tokenizer(random.Random("tokenizer")).save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_bytes() == (MODEL / "tokenizer.json").read_bytes()


def test_the_base_does_not_know_the_answers_yet(tmp_path: Path) -> None:
    # peft imports all that is needed; importorskip spares us the syntax warnings of libraries compiled just then
    pytest.importorskip("peft")
    from launcher.golden.evaluate import evaluate
    from launcher.jobs.golden import generate

    golden = read_golden(EXAMPLES / "golden.jsonl")
    models = ModelRequest(
        base=str(MODEL),
        adapter="",
        tokenizer=str(MODEL),
        compute_dtype="float32",
        device="cpu",
        chat_template=str(resource("templates", "chat", "chatml.jinja")),
    )
    result = evaluate(
        tmp_path,
        golden,
        lambda job, request: generate.run(request, lambda message: None),
        subjects=["base"],
        models=models,
    )
    assert result.scores["base"]["exact_match"] <= 0.30
    answers = {line["output"] for line in rows_of(tmp_path / "golden" / "scores" / "base.jsonl")}
    assert answers <= {row.targets[0] for row in golden}  # it knows what an answer looks like
    assert len(answers) > 1
