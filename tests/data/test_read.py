from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.data import json_lines
from launcher.data.read import detect_format, file_notes, read_lines
from launcher.errors import Unreadable


def write(folder: Path, data: bytes) -> Path:
    path = folder / "rows.jsonl"
    path.write_bytes(data)
    return path


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = write(tmp_path, b'\n{"a": 1}\r\n   \nnot json\n{"b": "\xe2\x80\xa8"}\n3\n{"c": 1}')
    lines = list(read_lines(path))
    assert [line.number for line in lines] == [2, 4, 5, 6, 7]
    assert [line.row for line in lines] == [{"a": 1}, None, {"b": "\u2028"}, None, {"c": 1}]
    assert lines[1].problem is not None
    assert "not JSON" in lines[1].problem
    assert lines[3].problem == "not a JSON object"


def test_bytes_that_are_not_utf8_spoil_their_line_only(tmp_path: Path) -> None:
    first, second = read_lines(write(tmp_path, b'{"a": "\xff"}\n{"a": "b"}\n'))
    assert first.problem == "not UTF-8: byte 0xff at column 8"
    assert second.row == {"a": "b"}


def test_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    path = write(tmp_path, b'\xef\xbb\xbf{"text": "a"}\n')
    assert [line.row for line in read_lines(path)] == [{"text": "a"}]
    assert "byte-order mark" in next(file_notes(path))


def test_long_line_is_refused_and_the_next_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_LINE", 1000)
    path = write(tmp_path, b'{"text": "' + b"x" * 3_000_000 + b'"}\n{"text": "a"}\n' + b"y" * 1001)
    long, short, last = read_lines(path)
    assert long.problem is not None
    assert "3 MiB long" in long.problem
    assert (short.number, short.row) == (2, {"text": "a"})
    assert last.problem is not None


def test_line_of_exactly_the_limit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    row = b'{"text": "abc"}'
    monkeypatch.setattr(json_lines, "MAX_LINE", len(row))
    assert [line.row for line in read_lines(write(tmp_path, row + b"\n" + row))] == [{"text": "abc"}] * 2


def test_lines_that_end_with_a_carriage_return_alone_are_named(tmp_path: Path) -> None:
    (line,) = read_lines(write(tmp_path, b'{"text": "a"}\r{"text": "b"}\r'))
    assert "carriage return alone" in str(line.problem)


def test_json_array_is_read_with_its_lines(tmp_path: Path) -> None:
    text = '[\n  {"text": "a"},\n  {"text":\n "b"},\n 3\n]\n'
    assert [(line.number, line.row) for line in read_lines(write(tmp_path, text.encode()))] == [
        (2, {"text": "a"}),
        (3, {"text": "b"}),
        (5, None),
    ]


@pytest.mark.parametrize(
    "text",
    ['{"a": 1, "a": 2}\n{"b": {"c": 1, "c": 1}}\n{"b": 2}', '[{"a": 1, "a": 2},\n{"b": {"c": 1, "c": 1}},\n{"b": 2}]'],
)
def test_a_key_that_stands_twice_is_said(text: str, tmp_path: Path) -> None:
    lines = list(read_lines(write(tmp_path, text.encode())))
    assert [(line.number, line.row) for line in lines] == [(1, None), (2, None), (3, {"b": 2})]
    assert [line.problem for line in lines[:2]] == [f"the key {key!r} stands twice in one object" for key in "ac"]


@pytest.mark.parametrize("text", ['[{"a": 1} {"b": 2}]', '[{"a": 1}', '[{"a": 1}] x', '[{"a": 1},\n{]', "[NaN]"])
def test_broken_array_is_said(text: str, tmp_path: Path) -> None:
    problems = [line.problem for line in read_lines(write(tmp_path, text.encode())) if line.problem]
    assert len(problems) == 1
    assert problems[0].startswith("not JSON")


def test_large_array_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_lines, "MAX_ARRAY", 10)
    with pytest.raises(Unreadable, match="jq"):
        list(read_lines(write(tmp_path, b'[{"a": 1}, {"a": 2}]')))


@pytest.mark.parametrize(
    ("head", "said"),
    [(b"\x1f\x8b\x08", "gzip"), (b"PK\x03\x04", "zip"), (b"PAR1", "Parquet"), (b"\xff\xfe{", "UTF-16")],
)
def test_other_kinds_of_file_are_named(head: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=said):
        list(read_lines(write(tmp_path, head + b"rest")))


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path, said in ((tmp_path / "none", "no such data file"), (tmp_path, "is a folder"), (pipe, "regular file")):
        with pytest.raises(Unreadable, match=said) as caught:
            list(read_lines(path))
        assert caught.value.exit_code == 2


def test_format_is_the_commonest_of_the_first_rows(tmp_path: Path) -> None:
    rows = [{"text": "a"}, {"prompt": "a", "completion": "b"}, {"text": "b"}, {"other": 1}]
    assert detect_format(write(tmp_path, "\n".join(map(json.dumps, rows)).encode())) == "text"
    assert detect_format(write(tmp_path, b'{"other": 1}\n')) is None
    assert detect_format(write(tmp_path, b"")) is None


@settings(max_examples=examples(200), deadline=1000)
@given(
    data=st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([b"[", b"{", b'"a":', b"1", b",", b"]", b"}", b"\n", b"\xff", b"NaN"]), max_size=40
        ).map(b"".join),
    )
)
def test_any_bytes_give_rows_or_problems(data: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = write(tmp_path_factory.mktemp("any"), data)
    try:
        lines = list(read_lines(path))
    except Unreadable:
        return
    assert all((line.row is None) == (line.problem is not None) for line in lines)
    numbers = [line.number for line in lines]
    assert numbers == sorted(numbers)
