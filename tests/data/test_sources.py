"""The same rows in every kind of file that people have; what cannot be read is one clear error."""

from __future__ import annotations

import csv
import gzip
import io
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from properties import examples

from launcher.cli.main import main
from launcher.data.inspect import inspect_data
from launcher.data.read import file_notes, read_lines
from launcher.data.write import write_data
from launcher.errors import QlError, Unreadable

ROWS = [{"prompt": f'question {i}, "or"\nnot', "completion": f"answer {i}\t; é"} for i in range(300)]


def lines(rows: list[Any]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows: list[dict[str, str]], delimiter: str) -> str:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()


PLAIN: dict[str, Callable[[list[Any]], str]] = {
    "rows.jsonl": lines,
    "rows.json": json.dumps,
    "spread.json": lambda rows: json.dumps(rows, indent=2),
    "wrapped.json": lambda rows: json.dumps({"data": rows}),
    "wrapped.jsonl": lambda rows: json.dumps({"version": 1, "rows": rows}, indent=1),
    "named.json": lambda rows: json.dumps({"version": 1, "my tickets": rows}),
    "turns.json": lambda rows: json.dumps({"conversations": rows}, indent=1),
    "early.json": lambda rows: json.dumps({"info": {"a": [1]}, "train": rows}),
    "rows.csv": lambda rows: table(rows, ","),
    "semicolons.csv": lambda rows: table(rows, ";"),
    "rows.tsv": lambda rows: table(rows, "\t"),
    "table.txt": lambda rows: table(rows, ","),
    "bom.csv": lambda rows: "\ufeff" + table(rows, ","),
    "bom.jsonl": lambda rows: "\ufeff" + lines(rows),
}


def pack_zstd(data: bytes) -> bytes:
    """Two frames, as tools that append write them."""
    pack = pytest.importorskip("zstandard").ZstdCompressor().compress
    half = len(data) // 2
    packed: bytes = pack(data[:half]) + pack(data[half:])
    return packed


PACKED: dict[str, Callable[[bytes], bytes]] = {"": bytes, ".gz": gzip.compress, ".zst": pack_zstd}


@pytest.mark.parametrize("packed", ["", ".gz", pytest.param(".zst", marks=pytest.mark.heavy)])
@pytest.mark.parametrize("name", PLAIN)
def test_text_of_every_kind_packed_or_not(name: str, packed: str, tmp_path: Path) -> None:
    path = tmp_path / (name + packed)
    path.write_bytes(PACKED[packed](PLAIN[name](ROWS).encode("utf-8")))
    assert [line.row for line in read_lines(path)] == ROWS
    report = inspect_data(path)
    assert (report.format, report.row_count, report.ok) == ("prompt_completion", 300, True)


def saved(folder: Path, rows: list[Any]) -> None:
    """A data set as the library saves it to disk."""
    pa = pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    for index, part in enumerate((rows[:100], rows[100:])):
        data = pa.Table.from_pylist(part)
        with pa.OSFile(str(folder / f"data-{index}.arrow"), "wb") as sink, pa.ipc.new_stream(sink, data.schema) as out:
            out.write_table(data)
    files = [{"filename": f"data-{index}.arrow"} for index in (0, 1)]
    (folder / "state.json").write_text(json.dumps({"_data_files": files}))
    (folder / "dataset_info.json").write_text("{}")


def columnar(kind: str, folder: Path, rows: list[Any]) -> Path:
    pa = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    data = pa.Table.from_pylist(rows)
    path = folder / "rows"
    if kind == "parquet":
        parquet.write_table(data, path)
    elif kind == "arrow":
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, data.schema) as out:
            out.write_table(data)
    elif kind == "shards":
        path.mkdir()
        parquet.write_table(data.slice(0, 120), path / "train-00000-of-00002.parquet")
        parquet.write_table(data.slice(120), path / "train-00001-of-00002.parquet")
        parquet.write_table(data.slice(0, 1), path / "test-00000-of-00001.parquet")
    elif kind == "saved":
        saved(path, rows)
    else:
        for split in ("test", "train"):
            saved(path / split, rows if split == "train" else rows[:1])
        (path / "dataset_dict.json").write_text(json.dumps({"splits": ["test", "train"]}))
    return path


@pytest.mark.parametrize("kind", ["parquet", "arrow", "shards", "saved", "splits"])
def test_columns_and_folders(kind: str, tmp_path: Path) -> None:
    path = columnar(kind, tmp_path, ROWS)
    read = list(read_lines(path))
    assert [line.row for line in read] == ROWS
    assert [line.number for line in read] == list(range(1, 301))
    report = inspect_data(path)
    assert (report.row_count, report.ok) == (300, True)
    done = write_data(report, tmp_path / "run", eval_fraction=0, seed=0)
    assert done.train_rows == 300
    others = {"shards": "test-00000-of-00001.parquet not read", "splits": "test not read"}.get(kind)
    assert others is None or others in "\n".join(report.notes)


@pytest.mark.parametrize("key", ["data", "my tickets"])
def test_a_wrapped_file_of_any_size(key: str, tmp_path: Path) -> None:
    rows = [{"prompt": f"question {i}", "completion": "x" * 20_000} for i in range(100)]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": 1, key: rows}))
    assert sum(line.row is not None for line in read_lines(path)) == 100


def test_what_columns_of_one_type_add_is_taken_off(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": "{}"}}]}
    turns = [
        {"role": "user", "content": "hi"},
        call,
        {"role": "tool", "content": "1"},
        {"role": "assistant", "content": "y"},
    ]
    path = columnar("parquet", tmp_path, [{"messages": turns}])
    report = inspect_data(path)
    assert report.ok
    assert not report.notes


@pytest.mark.parametrize("kind", ["parquet", "arrow", "saved"])
def test_the_extra_is_named_where_it_is_missing(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = columnar(kind, tmp_path, ROWS)
    for name in ("pyarrow", "pyarrow.parquet", "pyarrow.ipc", "zstandard"):
        monkeypatch.setitem(sys.modules, name, None)
    packed = tmp_path / "rows.jsonl.zst"
    packed.write_bytes(b"\x28\xb5\x2f\xfd rest")
    for wanted in (path, packed):
        with pytest.raises(Unreadable, match=r"pip install (pyarrow|zstandard), of ql's extra data") as caught:
            list(read_lines(wanted))
        assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("cut.gz", gzip.compress(lines(ROWS).encode(), mtime=0)[:-30], "cannot be unpacked (gzip)"),
        ("bad.gz", b"\x1f\x8b\x08 no", "cannot be unpacked (gzip)"),
        pytest.param("bad.zst", b"\x28\xb5\x2f\xfd no", "cannot be unpacked (zstd)", marks=pytest.mark.heavy),
        pytest.param("bad.parquet", b"PAR1 no", "cannot be read", marks=pytest.mark.heavy),
        pytest.param("bad.arrow", b"ARROW1 no", "cannot be read", marks=pytest.mark.heavy),
        ("book.xlsx", b"PK\x03\x04 no", "save its sheet as CSV UTF-8"),
        ("rows.jsonl.bz2", b"BZh9 no", "bunzip2"),
        ("pointer.jsonl", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("page.jsonl", b"\n<!DOCTYPE html>\n<html>", "is a web page"),
        ("wide.txt", "a".encode("utf-16"), "is UTF-16 text"),
        ("packed.gz", gzip.compress(b"PAR1 no", mtime=0), "a compressed Parquet file"),
    ],
)
def test_what_is_no_data_is_one_error_and_exits_2(name: str, data: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(data)
    result = CliRunner().invoke(main, ["check", str(tmp_path / name)])
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert result.stderr.count("error: ") == 1


def test_a_frame_that_is_not_whole_is_said_once_its_end_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl.zst"
    path.write_bytes(pack_zstd(lines(ROWS).encode())[:-30])
    with pytest.raises(Unreadable, match="the file ends before its last frame does"):
        list(read_lines(path))


def test_folders_that_are_no_data_set(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="without data files"):
        list(read_lines(tmp_path))
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_text(lines(ROWS[:1]))
    with pytest.raises(Unreadable, match=r"several data files: a.jsonl, b.jsonl"):
        list(read_lines(tmp_path))
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["dev", "test"]}')
    with pytest.raises(Unreadable, match="the splits dev, test"):
        list(read_lines(tmp_path))
    (tmp_path / "dataset_dict.json").unlink()
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "gone.arrow"}]}')
    with pytest.raises(Unreadable, match=r"is not whole: gone\.arrow"):
        list(read_lines(tmp_path))


def test_what_else_a_wrapped_file_holds_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps({"version": "1", "train": ROWS, "test": ROWS[:2], "empty": []}))
    assert list(file_notes(path)) == ['the rows are those under "train"; "version", "test" not read']


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("prompt,completion\na,b,c\n", 2, "3 fields, and the header has 2"),
        ("prompt,completion\na\n", 2, "1 fields, and the header has 2"),
        ('prompt,completion\n"a,b\n', 2, "unexpected end of data"),
        ("prompt,prompt\na,b\n", 1, "names the column 'prompt' twice"),
        ('prompt,completion\n"a\nb",c\nd,e,f\n', 4, "3 fields"),
    ],
)
def test_rows_of_a_table_that_are_none(text: str, line: int, said: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    [problem] = [line for line in read_lines(path) if line.problem]
    assert problem.number == line
    assert said in str(problem.problem)


texts = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), min_size=1, max_size=20).filter(
    lambda text: text.strip() and text == text.strip()
)


@settings(max_examples=examples(100), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries({"prompt": texts, "completion": texts}), min_size=2, max_size=4))
@pytest.mark.parametrize("name", PLAIN)
def test_any_text_comes_back(name: str, rows: list[dict[str, str]], tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_text(PLAIN[name](rows), encoding="utf-8", newline="")
    assert [line.row for line in read_lines(path)] == rows


@settings(max_examples=examples(150), suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), suffix=st.sampled_from([".csv", ".tsv", ".json", ".jsonl.gz", ".zst", ".parquet"]))
def test_any_bytes_are_rows_or_one_error(data: bytes, suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"rows{suffix}"
    path.write_bytes(gzip.compress(data)[: len(data) + 15] if suffix == ".jsonl.gz" else data)
    try:
        found = list(read_lines(path))
    except QlError as error:
        assert len(error.problems) == 1
    else:
        assert all((line.row is None) == (line.problem is not None) for line in found)
