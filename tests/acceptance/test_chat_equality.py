"""The same rows become the same tokens and labels in both trainers, in transformers, in golden prompts and in ql."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from launcher.data.chat import SHIPPED_TEMPLATES, load_chat_template
from launcher.data.formats import as_templates_read, normalise
from launcher.data.inspect import inspect_data
from launcher.data.rendering import Renderer
from launcher.data.special import special_tokens
from launcher.data.tokens import Tokenizing
from launcher.data.write import write_data
from launcher.resources import resource
from load_script import load_script

pytestmark = [
    pytest.mark.acceptance,
    pytest.mark.filterwarnings("ignore"),  # of the trainers' own imports; nothing of ours warns here
]

SYSTEM = {"role": "system", "content": " Answer briefly. "}
TOOLS = [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "required": None}}}]
CALLS = [
    {"type": "function", "function": {"name": "weather", "arguments": '{"city": "Zürich", "days": 3}'}},
    {"type": "function", "function": {"name": "clock", "arguments": {"zone": None}}},
]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str, calls: list[Any] | None = None) -> dict[str, Any]:
    return {"role": "assistant", "content": text} | ({"tool_calls": calls} if calls else {})


ROWS: list[dict[str, Any]] = [
    {"messages": [SYSTEM, user("Hi  there\n"), assistant("  42 \n"), user("and?"), assistant("7")]},
    {"messages": [assistant("I speak first"), user("then I"), assistant("-1")]},
    {"messages": [SYSTEM, assistant("after a system text"), user("q"), assistant("a")]},
    {"messages": [{"role": "system", "content": ""}, user("🙂 漢字 é"), assistant("🙂🙂 漢字")]},
    {"messages": [user("say <|im_end|>, </s> or <end_of_turn>"), assistant("<|im_end|> </s> <|eot_id|>, said.")]},
    # Axolotl finds turns by putting "zzdummymessagezz" and "[[dummy_message]]" in their place.
    {"messages": [user("zz"), assistant("zz and zz"), user("[["), assistant("[[dummy_]]")]},
    {"messages": [user("one"), assistant("two"), assistant("three in a row"), user("never answered")]},
    {"messages": [user("a"), {**assistant("wrong"), "weight": 0}, user("no"), {**assistant("right"), "weight": 1}]},
    {"messages": [user("a"), assistant("right"), user("more"), {**assistant("wrong"), "train": False}]},
    {"messages": [user("1+1?"), {**assistant("2"), "reasoning_content": " one and one "}]},
    {"messages": [user("weather?"), assistant("", CALLS), {"role": "tool", "content": "18"}, assistant("18 degrees")]},
    {
        "messages": [user("weather?"), assistant("Let me see.", CALLS[:1]), user("well?"), assistant("x")],
        "tools": TOOLS,
    },
]
TEXTS = ["The router drops every third packet.", "ends</s>", "<s>both</s>\n", " leading space", "x" * 300]


@pytest.fixture(scope="module")
def axolotl() -> Iterator[None]:
    """Axolotl's own loading, offline; its default of saving through worker processes takes minutes and is not used."""
    pytest.importorskip("axolotl")
    before = dict(os.environ)
    os.environ.update(HF_HUB_OFFLINE="1", AXOLOTL_DO_NOT_TRACK="1")
    yield
    os.environ.clear()
    os.environ.update(before)


bases = load_script(Path(__file__).parent.parent / "data" / "conftest.py").bases  # the same small tokenizers


@pytest.fixture(scope="module")
def train_script() -> ModuleType:
    return load_script(resource("templates", "unsloth/train.py"))


def axolotl_rows(folder: Path, base: Path, settings: dict[str, Any]) -> list[Any]:
    """input_ids and labels of data/train.jsonl as Axolotl's tokenizer loading and data set strategy make them."""
    from axolotl.loaders import load_tokenizer
    from axolotl.utils.data.sft import _load_and_process_single_dataset
    from axolotl.utils.dict import DictDefault

    common = {"base_model": str(base), "base_model_config": str(base), "tokenizer_config": str(base)}
    cfg = DictDefault({**common, "sequence_len": 2048, "train_on_inputs": False, **settings})
    tokenizer = load_tokenizer(cfg)
    before = Path.cwd()
    os.chdir(folder)
    try:
        data, _ = _load_and_process_single_dataset(cfg.datasets[0], cfg, tokenizer, "train", seed=0)
    finally:
        os.chdir(before)
    return sorted((row["input_ids"], row["labels"]) for row in data)


def write_rows(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def chat_settings(special: dict[str, str]) -> dict[str, Any]:
    """What ql's Axolotl config says of data and special tokens."""
    return {
        "chat_template": "jinja",
        "chat_template_jinja": "chat_template.jinja",
        "eot_tokens": [special["eot"]],
        "special_tokens": {"eos_token": special["eos"], "pad_token": special["pad"]},
        "datasets": [
            {
                "path": "data/train.jsonl",
                "type": "chat_template",
                "field_messages": "messages",
                "roles_to_train": ["assistant"],
                "train_on_eos": "turn",
                "message_field_training": "training",
            }
        ],
    }


def script_settings(base: Path, special: dict[str, str], folder: Path) -> dict[str, Any]:
    """What train.py reads of ql's Unsloth config to make rows."""
    return {
        "base_model": str(base),
        "eos_token": special["eos"],
        "pad_token": special["pad"],
        "chat_template": str(folder / "chat_template.jinja"),
        "end_of_turn": special["eot"],
        "sequence_len": 2048,
        "excess_length": "raise",
    }


@pytest.mark.parametrize("name", SHIPPED_TEMPLATES)
@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_conversations_are_equal_everywhere(
    name: str, kind: str, bases: dict[str, Path], axolotl: None, train_script: ModuleType, tmp_path: Path
) -> None:
    from launcher.jobs.golden.prompts import prompt_ids

    base, template = bases[kind], load_chat_template(name)
    special = special_tokens(base, template)
    source = write_rows(tmp_path / "rows.jsonl", ROWS)
    report = inspect_data(source, base=base, chat_template=name, sequence_len=2048)
    write_data(report, tmp_path, eval_fraction=0, seed=0)
    (tmp_path / "chat_template.jinja").write_text(template.text, encoding="utf-8")

    renderer, measure = Renderer(template, base), Tokenizing(base, template)
    normal = [renderer.written(normalise(row, "messages")[0]) for row in ROWS]
    ours = sorted(measure.labels(renderer.render(row)) for row in normal)

    assert axolotl_rows(tmp_path, base, chat_settings(special)) == ours

    config = script_settings(base, special, tmp_path)
    tokenizer = train_script.load_tokenizer(config)
    unsloth = train_script.load_rows(str(tmp_path / "data" / "train.jsonl"), tokenizer, config)
    assert sorted((row["input_ids"], row["labels"]) for row in unsloth) == ours

    for row in normal:
        messages, tools = as_templates_read(row["messages"]), row.get("tools")
        ids, labels = measure.labels(renderer.render(row))
        if any("training" in message for message in messages):
            continue  # transformers knows no turn of the assistant that is not trained
        mine = tokenizer.apply_chat_template(
            messages, tools=tools, return_dict=True, return_assistant_tokens_mask=True, tokenize=True
        )
        assert mine["input_ids"] == ids
        assert [token if keep else -100 for token, keep in zip(ids, mine["assistant_masks"], strict=True)] == labels
        for index, message in enumerate(row["messages"]):
            if message["role"] == "assistant" and index:
                prompt = {"messages": row["messages"][:index], "tools": tools}
                asked = prompt_ids(prompt, tokenizer, template.text)
                assert ids[: len(asked)] == asked
                assert labels[len(asked) - 1] == -100
                assert labels[len(asked)] == ids[len(asked)]


def test_base_models_own_template_is_equal_in_both_trainers(
    bases: dict[str, Path], axolotl: None, train_script: ModuleType, tmp_path: Path
) -> None:
    """One that neither trims nor marks what is generated, so that tokens straddle the start of an answer."""
    base = shutil.copytree(bases["bytes"], tmp_path / "base")
    text = "{% for m in messages %}{{ m.role }}: {{ m.content }}<|im_end|>\n{% endfor %}"
    (base / "chat_template.jinja").write_text(text + "{% if add_generation_prompt %}assistant: {% endif %}")
    template = load_chat_template("tokenizer", base)
    special = special_tokens(base, template)
    rows = [row for row in ROWS if not any("tool_calls" in message for message in row["messages"])]
    source = write_rows(tmp_path / "rows.jsonl", rows)
    report = inspect_data(source, base=base, chat_template="tokenizer", sequence_len=2048)
    write_data(report, tmp_path, eval_fraction=0, seed=0)
    (tmp_path / "chat_template.jinja").write_text(template.text, encoding="utf-8")
    renderer, measure = Renderer(template, base), Tokenizing(base, template)
    ours = sorted(measure.labels(renderer.render(renderer.written(normalise(row, "messages")[0]))) for row in rows)
    assert axolotl_rows(tmp_path, base, chat_settings(special)) == ours
    config = script_settings(base, special, tmp_path)
    tokenizer = train_script.load_tokenizer(config)
    unsloth = train_script.load_rows(str(tmp_path / "data" / "train.jsonl"), tokenizer, config)
    assert sorted((row["input_ids"], row["labels"]) for row in unsloth) == ours


# As templates of thinking bases are: a thought is written for the last turn, an empty one where there is none.
THINKING = """{%- set last = namespace(user=0) %}
{%- for message in messages if message.role == 'user' %}{%- set last.user = messages.index(message) %}{%- endfor %}
{%- if tools %}{{- '<|im_start|>system\n' ~ tools | tojson ~ '<|im_end|>\n' }}{%- endif %}
{%- for message in messages %}{%- set content = message.content %}{%- if message.role == 'assistant' %}
{%- set thought = message.reasoning_content if message.reasoning_content is string else '' %}
{%- if '</think>' in content %}{%- set thought = content.split('</think>')[0].split('<think>')[-1].strip('\n') %}
{%- set content = content.split('</think>')[-1].lstrip('\n') %}{%- endif %}
{{- '<|im_start|>assistant\n' }}
{%- if loop.index0 > last.user and (loop.last or thought) %}
{{- '<think>\n' + thought.strip('\n') + '\n</think>\n\n' }}{%- endif %}
{{- content }}
{%- if message.tool_calls %}{%- for call in message.tool_calls %}
{{- '\n<tool_call>' ~ call.function | tojson ~ '</tool_call>' }}{%- endfor %}{%- endif %}
{{- '<|im_end|>\n' }}
{%- else %}{{- '<|im_start|>' + message.role + '\n' + content + '<|im_end|>\n' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\n\n</think>\n\n' }}{%- endif %}
{%- endif %}"""
OFF = {"weight": 0}
NAMED = [{"id": f"call_{number}", **call} for number, call in enumerate(CALLS)]
RESULTS = [{"role": "tool", "tool_call_id": f"call_{number}", "content": str(number)} for number in range(2)]
THOUGHTS: list[dict[str, Any]] = [
    {"messages": [user("1+1?"), {**assistant("2"), "reasoning_content": "one and one"}]},
    {"messages": [user("1+2?"), assistant("<think>\nadd\n</think>\n\n3")]},
    {"messages": [user("hi"), assistant("no thought")]},
    {
        "messages": [
            user("a"),
            {**assistant("b"), "reasoning": "x", **OFF},
            user("c"),
            {**assistant("d"), "thinking": "y"},
        ]
    },
    {"messages": [user("a"), {**assistant("b"), **OFF}, user("c"), assistant("d")]},
    {"messages": [user("weather?"), {**assistant("", CALLS), "reasoning": "two calls"}]},
    {
        "messages": [
            user("weather?"),
            {**assistant("", CALLS), "reasoning": "two calls"},
            {"role": "tool", "content": "18"},
            {"role": "tool", "content": "12:00"},
            {**assistant("18 at noon"), "reasoning": "done"},
        ]
    },
    {
        "messages": [user("z"), {**assistant("zz"), "reasoning": "zz\n\nzz"}],
        "chat_template_kwargs": {"enable_thinking": True},
    },
    {
        "messages": [user("z"), {**assistant("q"), "reasoning": "zz"}],
        "chat_template_kwargs": {"enable_thinking": False},
    },
    {
        "messages": [
            SYSTEM,
            user("weather and time?"),
            {**assistant("Both.", NAMED), "reasoning": "two calls"},
            *RESULTS,
            {**assistant("18 at noon"), "reasoning": "done"},
        ],
        "tools": TOOLS,
    },
]


@pytest.mark.parametrize("thoughts", ["train", "each", "drop"])
def test_thoughts_are_equal_everywhere(
    thoughts: Any, bases: dict[str, Path], axolotl: None, train_script: ModuleType, tmp_path: Path
) -> None:
    """In both trainers, in golden prompts, and in the tokenizer that goes with a merged model."""
    from launcher.jobs.golden.prompts import load_tokenizer, prompt_ids
    from launcher.merge.folder import write_small_files

    base = shutil.copytree(bases["bytes"], tmp_path / "base")
    (base / "chat_template.jinja").write_text(THINKING)
    template = load_chat_template("tokenizer", base)
    special = special_tokens(base, template)
    source = write_rows(tmp_path / "rows.jsonl", THOUGHTS)
    report = inspect_data(source, base=base, chat_template="tokenizer", sequence_len=2048, thoughts=thoughts)
    assert report.ok
    write_data(report, tmp_path, eval_fraction=0, seed=0)
    (tmp_path / "chat_template.jinja").write_text(template.text, encoding="utf-8")
    assert report.reading is not None
    renderer, measure = report.reading.renderer, Tokenizing(base, template)
    rows = [row for _, row in report.reading.rows()]
    made = [measure.labels(renderer.render(row)) for row in rows]
    texts = [rendered.text[slice(*rendered.spans[-1])] for rendered in map(renderer.render, rows)]
    first, second = ("", "") if thoughts == "drop" else ("one and one\n</think>\n\n", "add\n</think>\n\n")
    assert texts[:3] == [f"{first}2<|im_end|>", f"{second}3<|im_end|>", "no thought<|im_end|>"]
    assert "q<|im_end|>" in texts
    assert axolotl_rows(tmp_path, base, chat_settings(special)) == sorted(made)
    config = script_settings(base, special, tmp_path)
    tokenizer = train_script.load_tokenizer(config)
    unsloth = train_script.load_rows(str(tmp_path / "data" / "train.jsonl"), tokenizer, config)
    assert sorted((row["input_ids"], row["labels"]) for row in unsloth) == sorted(made)

    merged = tmp_path / "merged"
    merged.mkdir()
    write_small_files(merged, {}, {}, base, tmp_path / "chat_template.jinja", {}, {})
    served = load_tokenizer(str(merged))
    assert report.template_settings == ({"enable_thinking": False} if thoughts == "drop" else {})
    for row, (ids, labels) in zip(rows, made, strict=True):
        messages, tools = as_templates_read(row["messages"]), row.get("tools")
        assert served.apply_chat_template(messages, tools=tools, tokenize=True)["input_ids"] == ids
        prompt = {"messages": row["messages"][:-1], "tools": tools}
        asked = prompt_ids(prompt, served, None, report.template_settings)
        assert ids[: len(asked)] == asked
        assert labels[len(asked) - 1] == -100
        if thoughts == "drop":
            assert labels[len(asked)] == ids[len(asked)], "the answer follows the prompt at once"


@pytest.mark.parametrize("kind", ["bytes", "pieces"])
def test_texts_are_equal_in_both_trainers(
    kind: str, bases: dict[str, Path], axolotl: None, train_script: ModuleType, tmp_path: Path
) -> None:
    base = bases[kind]
    special = special_tokens(base, None)
    rows = [{"text": text} for text in TEXTS]
    report = inspect_data(write_rows(tmp_path / "rows.jsonl", rows), base=base, sequence_len=64)
    write_data(report, tmp_path, eval_fraction=0, seed=0)
    settings = {
        "sequence_len": 64,
        "special_tokens": {"eos_token": special["eos"], "pad_token": special["pad"]},
        "datasets": [{"path": "data/train.jsonl", "type": "completion", "field": "text"}],
    }
    config = {
        "base_model": str(base),
        "eos_token": special["eos"],
        "pad_token": special["pad"],
        "chat_template": None,
        "sequence_len": 64,
        "excess_length": "truncate",
    }
    tokenizer = train_script.load_tokenizer(config)
    unsloth = train_script.load_rows(str(tmp_path / "data" / "train.jsonl"), tokenizer, config)
    assert sorted((row["input_ids"], row["labels"]) for row in unsloth) == axolotl_rows(tmp_path, base, settings)
    measure, renderer = Tokenizing(base, None), Renderer(None, base)
    short = [measure.labels(renderer.render(renderer.written(row))) for row in rows[:4]]
    begin, end = measure.tokenizer.token_to_id("<s>"), measure.tokenizer.token_to_id(special["eos"])
    if kind == "pieces":
        assert all(ids.count(begin) == 0 or ids[0] == begin for ids, _ in short)
        assert all(ids.count(end) == 1 for ids, _ in short)
    assert all(pair in [(row["input_ids"], row["labels"]) for row in unsloth] for pair in short)
