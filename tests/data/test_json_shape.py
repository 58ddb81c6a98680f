"""What a file of JSON text is, without parsing it for that: and the answer is kept until the file changes."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from launcher.data import json_shape
from launcher.data.json_shape import shape_of, value_end
from launcher.data.read import read_lines

ROWS: list[dict[str, Any]] = [{"prompt": f"a [{n}] {{", "completion": 'b "}" \\'} for n in range(40)]
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def shape(path: Path) -> json_shape.FileShape:
    return shape_of(io.BytesIO(path.read_bytes()), path)


@given(st.lists(JSON) | st.dictionaries(st.text(), JSON), st.text())
def test_a_value_ends_where_the_parser_says(value: Any, behind: str) -> None:
    text = json.dumps(value)
    assert value_end(text + behind, 0) == len(text)
    assert value_end(text[:-1], 0) is None


@pytest.mark.parametrize("look", [120, 2**20])
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("under", [None, "train", "mine"])
def test_rows_come_whole_whatever_is_seen_first(
    under: str | None, indent: int | None, look: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_shape, "_LOOK", look)
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"name": "x", under: ROWS} if under else ROWS, indent=indent))
    for _ in range(2):  # the second time it is known what it is
        assert [line.row for line in read_lines(path)] == ROWS
    assert (shape(path).array, shape(path).key) == (True, under)


def test_lines_come_whole_too(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n\n" + "".join(json.dumps(row) + "\n" for row in ROWS))
    for _ in range(2):
        assert [line.row for line in read_lines(path)] == ROWS
    assert shape(path) == json_shape.FileShape()


def test_a_file_that_changes_is_looked_at_again(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    assert shape(path).array
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS[:3]))
    assert [line.row for line in read_lines(path)] == ROWS[:3]
