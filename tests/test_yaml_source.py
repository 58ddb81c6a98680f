from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.errors import Problem, Unreadable
from launcher.yaml_source import MAX_DEPTH, Spot, load_yaml, parse_yaml


def refused(text: str | bytes) -> list[Problem]:
    with pytest.raises(Unreadable) as caught:
        parse_yaml(text, file="config.yaml")
    return caught.value.problems


def test_places_of_keys_and_values() -> None:
    data, positions = parse_yaml("base_model: x\ndatasets:\n  - path: a\n    type: b\n", file="f")
    assert data == {"base_model": "x", "datasets": [{"path": "a", "type": "b"}]}
    assert positions.key(("datasets", 0, "type")) == Spot(4, 5)
    assert positions.value(("datasets", 0, "type")) == Spot(4, 11)
    assert positions.value(("base_model",)) == Spot(1, 13)


def test_a_path_that_is_not_there_has_its_parents_place() -> None:
    _, positions = parse_yaml("a: 1\nb:\n  c: 2\n", file="f")
    assert positions.key(("b", "missing")) == Spot(2, 1)
    assert positions.value(("b", "missing")) == Spot(3, 3)


def test_merge_keys_and_anchors_read_as_yaml_does_and_point_at_the_anchor() -> None:
    text = "base: &base\n  r: 8\n  alpha: 16\nrun:\n  <<: *base\n  alpha: 32\n"
    data, positions = parse_yaml(text, file="f")
    assert data == yaml.safe_load(text)
    assert positions.key(("run", "r")) == Spot(2, 3)
    assert positions.key(("run", "alpha")) == Spot(6, 3)


def test_all_duplicate_keys_are_reported_with_both_lines() -> None:
    problems = refused("a: 1\nb: 2\na: 3\nc: {d: 1, d: 2}\n")
    assert [(p.line, p.column) for p in problems] == [(3, 1), (4, 11)]
    assert "'a' is already set on line 1" in problems[0].message


def test_a_merged_key_that_is_set_again_is_no_duplicate() -> None:
    data, _ = parse_yaml("x: &x {a: 1}\ny:\n  a: 2\n  <<: *x\n", file="f")
    assert data["y"] == {"a": 2}


@pytest.mark.parametrize(
    ("text", "message", "line"),
    [
        ("a:\n\tb: 1\n", "a tab in the indentation", 2),
        ("a: 1\n---\nb: 2\n", "second YAML document", 2),
        (b"a: \xe9\n", "not UTF-8: byte 0xe9", 1),
        ("a: 1\nb: [1, 2\nc: 3\n", "not valid YAML", 3),
        ("a: b: c\n", "not valid YAML", 1),
        ("a: 1\nb: \x07\n", "control character U+0007", 2),
        ("? [a]\n: 1\n", "a key must be a plain value", 1),
        ("a: &a [*a]\n", "alias that contains itself", 1),
        ("a: *nowhere\n", "undefined alias", 1),
        ("a: !!python/object:os.system x\n", "not valid YAML", 1),
    ],
)
def test_what_cannot_be_read_is_said_with_its_line(text: str | bytes, message: str, line: int) -> None:
    [problem] = refused(text)
    assert message in problem.message
    assert (problem.file, problem.line) == ("config.yaml", line)


@pytest.mark.parametrize("text", ["[" * 50_000, "{a: " * 5_000, "- " * 5_000])
def test_deep_nesting_is_refused_rather_than_overflowing_the_stack(text: str) -> None:
    assert f"deeper than {MAX_DEPTH}" in refused(text)[0].message


def test_an_impossible_date_is_refused() -> None:
    assert "not valid YAML" in refused("when: 2024-99-99\n")[0].message


def test_utf16_and_missing_files(tmp_path: Path) -> None:
    assert "UTF-16" in refused("a: 1".encode("utf-16"))[0].message
    with pytest.raises(Unreadable, match="No such file"):
        load_yaml(tmp_path / "nothing.yaml")


def test_a_byte_order_mark_and_an_empty_file_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert load_yaml(path)[0] == {"a": 1}
    path.write_bytes(b"")
    assert load_yaml(path)[0] is None


@settings(max_examples=examples(300), deadline=None)
@given(st.one_of(st.text(max_size=80), st.text(alphabet="ab:-?*&!<>|[]{},\"'#%@ \n\t", max_size=60)))
def test_any_text_is_read_as_yaml_does_or_refused_in_words(text: str) -> None:
    try:
        data, _ = parse_yaml(text, file="f")
    except Unreadable:
        return
    expected = yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    assert data == expected or repr(data) == repr(expected)  # nan is not equal to itself


@pytest.mark.parametrize(
    ("text", "said", "right"),
    [
        ("seed: 042", "042 is read as 34: a leading zero makes it octal", "42, or 34"),
        ("seed: -010", "-010 is read as -8: a leading zero makes it octal", "10, or -8"),
        ("warmup_steps: 1:30", "1:30 is read as 90: colons count in sixties", '"1:30" in quotes, or 90'),
        ("at: 1:30:00", "1:30:00 is read as 5400: colons count in sixties", '"1:30:00" in quotes, or 5400'),
        ("lr: .nan", ".nan is no number that a setting can have", "a number, or leave the key out"),
        ("lr: -.inf", "-.inf is no number that a setting can have", "a number, or leave the key out"),
        ("a: [1, .inf]", ".inf is no number that a setting can have", "a number, or leave the key out"),
        ("on: 1", "the key on is read as true", "write it in quotes"),
        ("a: {No: 1}", "the key No is read as false", "write it in quotes"),
        ("? ~\n: 1", "the key ~ is read as nothing", "write it in quotes"),
    ],
)
def test_what_yaml_reads_as_something_else_is_said(text: str, said: str, right: str) -> None:
    [problem] = refused(text)
    assert (problem.message, problem.hint, problem.line) == (said, right, 1)


@pytest.mark.parametrize(
    "text",
    ["a: 0", "a: 0.5", "a: 00", "a: 0x1f", "a: 1_000", "a: '042'", 'a: "1:30"', "a: 089", "a: 1e5", "a: on", "'on': 1",
     "a: .5", "a: 12:30pm", "1: a"],
)  # fmt: skip
def test_what_yaml_reads_as_it_stands_is_taken(text: str) -> None:
    assert parse_yaml(text, file="f")[0] == yaml.safe_load(text)


def test_all_such_numbers_are_told_at_once() -> None:
    assert [problem.line for problem in refused("a: 042\nb: 1\nc: 1:30\non: 2\n")] == [1, 3, 4]
