from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from launcher.data.chat import load_chat_template
from launcher.data.rendering import Renderer
from launcher.data.tokens import (
    BYTES_PER_TOKEN,
    Estimating,
    Rendered,
    Tokenizing,
    measure_for,
    trained_tokens,
)
from launcher.errors import Unreadable

CHAT = {
    "messages": [
        {"role": "user", "content": "please help"},
        {"role": "assistant", "content": "The router"},
        {"role": "user", "content": "and?"},
        {"role": "assistant", "content": "42"},
    ]
}


def test_tokens_that_touch_a_span_are_trained() -> None:
    offsets = [(0, 2), (2, 4), (4, 4), (4, 7), (7, 9), (9, 9)]
    assert trained_tokens(offsets, [(3, 5)]) == [False, True, True, True, False, False]
    assert trained_tokens(offsets, [(0, 1), (7, 9)]) == [True, False, False, False, True, False]
    assert trained_tokens(offsets, []) == [False] * 6


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_lengths_are_those_of_the_labels(kind: str, bases: dict[str, Path]) -> None:
    template = load_chat_template("chatml")
    measure = measure_for(bases[kind], template)
    assert isinstance(measure, Tokenizing)
    row = Renderer(template, bases[kind]).render(CHAT)
    ids, labels = measure.labels(row)
    length = measure.lengths([row])[0]
    trained = [index for index, label in enumerate(labels) if label != -100]
    assert (length.total, length.trained, length.first_trained) == (len(ids), len(trained), trained[0])
    assert [row.text[start:end] for start, end in measure.trained_text(row)] == ["The router<|im_end|>", "42<|im_end|>"]


def test_text_rows_are_trained_whole_with_their_end(bases: dict[str, Path]) -> None:
    measure = measure_for(bases["pieces"], None)
    assert isinstance(measure, Tokenizing)
    row = Renderer(None, None).render({"text": "please help"})
    ids, labels = measure.labels(row)
    assert ids == labels
    assert ids[-1] == measure.tokenizer.token_to_id("</s>")
    assert measure.lengths([row])[0].total == len(ids)


def test_estimate_counts_a_control_token_once() -> None:
    template = load_chat_template("chatml")
    measure = measure_for(None, template)
    assert isinstance(measure, Estimating)
    assert not measure.exact
    assert str(BYTES_PER_TOKEN) in measure.source
    plain, marked = measure.lengths([Rendered("x" * 317, ((0, 317),)), Rendered("<|im_end|>" * 5, ((10, 50),))])
    assert (plain.total, plain.trained, plain.first_trained) == (100, 100, 0)
    assert (marked.total, marked.trained, marked.first_trained) == (5, 4, 1)


def test_estimate_is_near_the_truth_on_plain_english() -> None:
    """Within a third of what a byte-level tokenizer makes of common words: four to five letters and a space a token."""
    text = "The quick brown fox jumps over the lazy dog. " * 20
    words = len(text.split())
    estimated = Estimating(None).lengths([Rendered(text, ())])[0].total
    assert words < estimated < 2 * words


def test_broken_tokenizer_is_said(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>", "unk_token": "<unk>"}')
    with pytest.raises(Unreadable, match=r"tokenizer\.json"):
        measure_for(tmp_path, None)


@pytest.mark.parametrize(
    "text", ["<s>please help</s>", "<s>please help", "please help</s>\n", " <s><s>please help</s></s>"]
)
def test_a_text_with_tokens_of_its_own_has_each_once(text: str, bases: dict[str, Path]) -> None:
    """Of a tokenizer that puts a beginning in front, and the end that both trainers put behind."""
    from tokenizers import Tokenizer
    from tokenizers.processors import TemplateProcessing

    base = bases["pieces"]
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    begin, end = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
    own = base.parent / "begins"
    shutil.copytree(base, own, dirs_exist_ok=True)
    tokenizer.post_processor = TemplateProcessing(single="<s> $A", special_tokens=[("<s>", begin)])
    tokenizer.save(str(own / "tokenizer.json"))
    renderer, measure = Renderer(None, own), Tokenizing(own, None)
    written = renderer.written({"text": text})
    ids, labels = measure.labels(renderer.render(written))
    assert (ids[0], ids[-1], ids.count(begin), ids.count(end)) == (begin, end, 1, 1)
    assert ids == labels
    assert measure.lengths([renderer.render(written)])[0].total == len(ids)
    assert measure.frame(renderer.render(written)) == ("<s>", "</s>")
