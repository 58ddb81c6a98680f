from __future__ import annotations

import math
import re
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples, share

from launcher.configs.findings import Finding
from launcher.configs.kinds import header_of, kind_of
from launcher.configs.render import render_config
from launcher.configs.validate import check_text
from launcher.errors import Unreadable
from launcher.json_schema import load_schema
from launcher.planning.decide import make_plan
from launcher.preparing.request import make_request
from launcher.records.codec import encode
from launcher.resources import resource
from manifests import new_manifest

GOOD = """\
# a comment
base_model: mistralai/Mistral-7B-v0.3
adapter: qlora
load_in_4bit: true
lora_r: 16
lora_alpha: 32
lora_target_linear: true
lora_mlp_kernel: true
datasets:
  - path: data.jsonl
    type: chat_template
sequence_len: 2048
excess_length_strategy: truncate
gradient_accumulation_steps: 16
learning_rate: 2e-4
"""


def found(text: str | bytes, **options: Any) -> list[Finding]:
    return check_text(text, file="config.yaml", **options)


def codes(text: str | bytes, **options: Any) -> list[str]:
    return [finding.code for finding in found(text, **options)]


def test_a_good_config_has_no_findings() -> None:
    assert found(GOOD) == []


def test_an_unknown_key_without_a_value_sets_nothing_and_is_a_warning() -> None:
    assert [finding.severity for finding in found(GOOD + "debug:\n")] == ["warning"]
    assert [finding.severity for finding in found(GOOD + "debug: true\n")] == ["error"]


def test_what_is_missing_is_named_alone() -> None:
    [finding] = found(GOOD.replace("lora_alpha: 32\n", "").replace("lora_r: 16", "lora_r: 8"))
    assert (finding.message, finding.hint) == ("lora_alpha is not set", "add lora_alpha: 16")
    [finding] = found(GOOD.replace("lora_alpha: 32\n", "").replace("lora_r: 16\n", ""))
    assert (finding.message, finding.hint) == ("lora_r and lora_alpha are not set", "add lora_r: 16 and lora_alpha: 32")


def test_a_finding_says_where_what_and_why() -> None:
    [finding] = found(GOOD + "lora_rank: 8\n")
    assert (finding.code, finding.severity, finding.line, finding.column, finding.end_column) == (
        "QL101",
        "error",
        16,
        1,
        10,
    )
    assert finding.path == "lora_rank"
    assert "lora_rank" in finding.message
    assert "lora_r" in finding.hint
    assert "silence" in finding.why


def test_the_value_is_marked_not_the_key() -> None:
    [finding] = found(GOOD.replace("lora_r: 16", "lora_r:   many  # too many"))
    assert (finding.line, finding.column, finding.end_column) == (5, 11, 15)


def test_a_key_deep_in_a_list_is_found() -> None:
    [finding] = found(
        GOOD.replace("    type: chat_template", "    type: chat_template\n    roles_to_trian: [assistant]")
    )
    assert (finding.path, finding.line, finding.column) == ("datasets[0].roles_to_trian", 12, 5)
    assert "roles_to_train" in finding.hint


def test_all_findings_at_once_in_the_order_of_the_file() -> None:
    text = "bf16: perhaps\n" + GOOD.replace("lora_alpha: 32", "lora_alfa: 32") + "optimizer: adam8\n"
    lines = [(finding.line, finding.code) for finding in found(text)]
    assert lines == sorted(lines)
    assert {"QL103", "QL101", "QL704"} <= {code for _, code in lines}


@pytest.mark.parametrize(
    ("text", "code", "line"),
    [
        ("a: [1\n", "QL002", 2),
        ("a: b: c\n", "QL002", 1),
        ("a: 1\n\tb: 2\n", "QL004", 2),
        ("a: 1\nb: 2\na: 3\n", "QL005", 3),
        ("a: 1\n---\nb: 2\n", "QL006", 2),
        ("", "QL007", 1),
        ("- a\n", "QL007", 1),
        ("just text\n", "QL007", 1),
        (b"a: \xff\n", "QL003", 1),
        ("a: 1\n".encode("utf-16"), "QL003", 1),
        ("&a [*a]\n", "QL002", 1),
        ("a: \x07\n", "QL002", 1),
    ],
)
def test_what_is_no_config(text: str | bytes, code: str, line: int) -> None:
    assert [(finding.code, finding.line) for finding in found(text)] == [(code, line)]


def test_anchors_and_merge_keys() -> None:
    text = "lora: &lora\n  lora_r: 16\n  lora_alpha: 32\n<<: *lora\n" + GOOD.replace("lora_r: 16\nlora_alpha: 32\n", "")
    assert codes(text) == [], "a key that holds an anchor is no mistake"
    assert codes(text.replace("<<: *lora\n", "lora_r: 16\nlora_alpha: 32\n")) == ["QL101"], "one that nothing uses is"
    assert codes("rank: &r 16\n" + GOOD.replace("lora_r: 16", "lora_r: *r")) == []
    assert codes(GOOD.replace("lora_r: 16", "lora_r: &r 16") + "lora_rr: *r\n") == ["QL101"], "nor does it hide others"
    assert codes("lora: &lora {lora_rr: 16}\nother:\n  <<: *lora\n" + GOOD) == ["QL101"]
    text = "lora: &lora\n  lora_rr: 16\n<<: *lora\n" + GOOD
    lines = [(finding.code, finding.line) for finding in found(text)]
    assert ("QL101", 2) in lines, "a merged key stands where the anchor is"


@pytest.mark.parametrize(("written", "code"), [("1e-1", "QL706"), ("'0.1'", "QL706"), ("fast", "QL102"), ("2e-4", "")])
def test_a_learning_rate_that_yaml_reads_as_text_is_a_number(written: str, code: str) -> None:
    """YAML 1.1 takes 2e-4 for text; Axolotl makes a number of it, or refuses it."""
    assert codes(re.sub("learning_rate: .*", f"learning_rate: {written}", GOOD)) == ([code] if code else [])


def test_a_byte_order_mark_is_no_fault() -> None:
    assert found(b"\xef\xbb\xbf" + GOOD.encode()) == []


def test_windows_line_ends() -> None:
    [finding] = found((GOOD + "lora_rank: 8\n").replace("\n", "\r\n"))
    assert (finding.line, finding.end_column) == (16, 10)


@pytest.mark.parametrize(
    ("comment", "left"),
    [
        ("# ql: ignore QL101", []),
        ("# ql: ignore QL101, QL102", ["QL008"]),
        ("# ql: ignore QL102", ["QL008", "QL101"]),
        ("# ql: ignore", ["QL008", "QL101"]),
        ("# kept for the other trainer  # ql: ignore QL101", []),
    ],
)
def test_a_comment_ignores_one_line(comment: str, left: list[str]) -> None:
    assert sorted(codes(GOOD + f"lora_rank: 8  {comment}\n")) == left


def test_the_version_comes_from_the_header_or_the_caller() -> None:
    newer = GOOD + "fp8: true\nfp8_config: {}\ntorch_compile: true\n"
    assert "QL101" not in codes(newer)
    assert "QL101" in codes(newer, versions={"axolotl": "0.18"})
    assert "QL101" in codes("# yaml-language-server: $schema=https://example.org/axolotl-0.18.json\n" + newer)
    assert "QL101" in codes("# ql: axolotl 0.17\n" + newer)
    assert codes("# ql: axolotl 0.3\n" + GOOD) == ["QL009"]
    with pytest.raises(Unreadable, match=r"0\.2"):
        found(GOOD, versions={"axolotl": "0.2"})


def test_a_newer_key_is_named_as_such() -> None:
    [finding] = [f for f in found(GOOD + "ple_cpu_offload: false\n", versions={"axolotl": "0.18"}) if f.code == "QL101"]
    assert "0.19" in finding.hint


def test_a_plugin_from_elsewhere_may_have_keys() -> None:
    [finding] = found(GOOD + "plugins: [my.own.Plugin]\nmy_key: 1\n")
    assert (finding.code, finding.severity) == ("QL101", "warning")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("title: a\ncompute_capability: 8.6\nvram_gib: 24\n", "gpu"),
        ("hidden_size: 1\nnum_layers: 1\n", "model"),
        ("gpu: a\nmodel: b\nrecipe: c\n", "preset"),
        ("title: a\nsettings: {}\n", "recipe"),
        ("base_model: a\n", "axolotl"),
        ("services: {}\n", None),
    ],
)
def test_kinds_by_their_keys(text: str, kind: str | None) -> None:
    import yaml

    assert kind_of(yaml.safe_load(text), "some.yaml") == kind


def test_a_modeline_names_the_kind() -> None:
    assert header_of("# yaml-language-server: $schema=../schemas/gpu.json\n") == ("gpu", None)
    assert header_of("#yaml-language-server: $schema=axolotl-0.18.json\n") == ("axolotl", (0, 18))


def test_a_card_file_is_checked_by_its_schema() -> None:
    assert codes("title: a\nvram_gib: -1\ncompute_capability: 8.6\nspeed: 9\n", kind="gpu").count("QL105") == 6
    assert {"QL101", "QL104"} <= set(codes("title: a\nvram_gib: -1\ncompute_capability: 8.6\nspeed: 9\n", kind="gpu"))


def test_training_rows_are_one_finding_that_says_what_reads_them() -> None:
    [finding] = found_in_rows('{"messages": []}\n{"messages": []}\n')
    assert (finding.code, finding.line) == ("QL106", 1)
    assert "training rows (messages)" in finding.message
    assert "ql check" in finding.hint
    assert len(found_in_rows('{"question": "x"}\n')) == 2, "input and target are missing"


def found_in_rows(text: str) -> list[Finding]:
    return check_text(text, file="rows.jsonl")


def test_golden_rows_are_read_as_strictly_as_by_a_launch() -> None:
    text = '{"input": "a", "input": "b", "target": "c"}\n{"input": "a", "target": "b", "metadata": {"x": NaN}}\n'
    findings = check_text(text, file="golden.jsonl")
    assert [(found.code, found.line) for found in findings] == [("QL002", 1), ("QL002", 2)]
    assert "'input' stands twice" in findings[0].message
    assert "NaN" in findings[1].message


def test_golden_rows() -> None:
    text = '{"input": "a", "target": "b"}\n\n{"input": "a"}\n{"input": 5, "ideal": "b"}\nnot json\n'
    findings = check_text(text, file="golden.jsonl")
    assert [(finding.line, finding.code) for finding in findings] == [(3, "QL106"), (4, "QL102"), (5, "QL002")]
    assert "target" in findings[0].hint


def test_golden_prompts_that_stand_twice_are_warned_of() -> None:
    text = '{"input": "a", "target": "b"}\n{"input": "a", "ideal": "c"}\n{"input": "a"}\n'
    twice, wrong = check_text(text, file="golden.jsonl")
    assert (twice.code, twice.severity, twice.line) == ("QL010", "warning", 2)
    assert "line 1" in twice.message
    assert wrong.line == 3


KEYS = [
    "base_model",
    "datasets",
    "lora_r",
    "bf16",
    "val_set_size",
    "plugins",
    "adapter",
    "<<",
    "x",
    "learning_rate",
    "special_tokens",
    "selective_checkpointing",
    "lora_target_modules",
    "torch_compile_options",
    "chat_template",
    "evals_per_epoch",
    "num_epochs",
    "bnb_config_kwargs",
]
VALUES = (
    """
1|0|-1|true|null|qlora|[a, 1]|{a: 1}|2024-01-01|.nan|.inf|'x'|*a|&a 1|1e400|!!python/none x|0x1F|2e-4
|[{path: x, type: {a: 1}}]|[{path: x, type: sharegpt}]|"
""".strip()
    .replace("\n", "")
    .split("|")
)
keys = st.sampled_from(KEYS)
scalars = st.sampled_from(VALUES)
lines = st.builds(lambda indent, key, value: f"{' ' * indent}{key}: {value}", st.integers(0, 2), keys, scalars)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=examples(300), deadline=None, database=None)
@given(st.lists(lines, max_size=8).map("\n".join))
def test_never_a_traceback_on_nearly_a_config(text: str) -> None:
    found(text)
    found(text, kind="preset")


@pytest.mark.parametrize("schema", sorted(path.stem for path in resource("schemas").glob("*.json")))
@settings(max_examples=examples(20), deadline=None, database=None)
@given(text=st.lists(lines, max_size=8).map("\n".join))
def test_never_a_traceback_whatever_its_first_line_says_it_is(schema: str, text: str) -> None:
    found(f"# yaml-language-server: $schema={schema}.json\n{text}")


@settings(max_examples=examples(300), deadline=None, database=None)
@given(st.text() | st.binary())
def test_never_a_traceback_on_any_text(text: str | bytes) -> None:
    found(text)
    check_text(text, file="golden.jsonl")


@settings(max_examples=examples(100), deadline=None, database=None)
@given(st.dictionaries(keys, values))
def test_never_a_traceback_on_any_values(data: dict[str, Any]) -> None:
    found(yaml.safe_dump(data, allow_unicode=True))


@pytest.mark.parametrize("value", [["a"], {"a": 1}, "x", -1, 1.5, True, [{"path": 1, "type": [2]}]], ids=str)
def test_never_a_traceback_whatever_key_has_whatever_value(value: Any) -> None:
    good = yaml.safe_load(GOOD)
    for key in share(list(load_schema("axolotl-0.19")["properties"])):
        found(yaml.safe_dump(good | {key: value}, sort_keys=False))


ODD = st.sampled_from(
    [
        0,
        -1,
        0.0,
        0.25,
        1e-300,
        1e300,
        math.nan,
        math.inf,
        2**70,
        "",
        "x",
        "1e-4",
        True,
        None,
        [],
        ["q_proj"],
        {},
        {"a": 1},
    ]
)
UNSLOTH = make_plan(make_request(preset="a10g-7b", backend="unsloth"))
GOOD_UNSLOTH = render_config(UNSLOTH, {"eos": "a", "eot": "a", "pad": "b"})


@pytest.mark.parametrize("kind", ["axolotl", "unsloth"])
@settings(max_examples=examples(150), deadline=None, database=None)
@given(st.data())
def test_never_a_traceback_on_a_good_config_with_odd_values(kind: Any, data: st.DataObject) -> None:
    """Rules that look at a card read the whole config back, whatever its values are."""
    config = yaml.safe_load(GOOD if kind == "axolotl" else GOOD_UNSLOTH["config.yaml"])
    times = ["max_steps", "num_epochs", "eval_steps", "save_steps", "warmup_steps", "val_set_size", "evals_per_epoch"]
    keys = data.draw(st.lists(st.sampled_from(times if kind == "axolotl" else ["num_epochs", "eval_interval"])))
    keys += data.draw(st.lists(st.sampled_from([*config, "bnb_config_kwargs", "bf16", "fp16"]), max_size=2))
    config |= {key: data.draw(ODD) for key in keys}
    for key in data.draw(st.lists(st.sampled_from(list(config)), max_size=2)):
        config.pop(key, None)  # a config that is being written: keys are still to come
    if data.draw(st.booleans()):
        config |= {"val_set_size": 0.1, "eval_steps": 0.25, "eval_batch_size": 1} if kind == "axolotl" else {}
    found(yaml.safe_dump(config, sort_keys=False), kind=kind, gpu=data.draw(st.sampled_from(["a10g", "cpu", "t4"])))


@pytest.mark.parametrize("key", ["sequence_len", "micro_batch_size", "eval_batch_size", "lora_r"])
def test_a_size_of_zero_is_an_error_and_not_a_job_to_estimate(key: str) -> None:
    config = yaml.safe_load(GOOD) | {key: 0}
    findings = found(yaml.safe_dump(config, sort_keys=False), kind="axolotl", gpu="a10g")
    assert "QL851" not in str(findings)


def test_a_run_manifest() -> None:
    import json

    plan = {"backend": "axolotl", "base_model": "a", "compute_dtype": "float16", "method": "qlora"}
    manifest = encode(new_manifest(name="a-1", plan=plan, trainer_python="python"))
    assert check_text(json.dumps(manifest), file="runs/a-1/run.json") == []
    manifest["stages"][0]["state"] = "almost"
    assert [finding.code for finding in check_text(json.dumps(manifest), file="runs/a-1/run.json")] == ["QL103"]
