"""Atomic writes: the order write, fsync, rename, fsync of the folder; nothing left behind on failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from launcher.files import plain_name, program, read_json_lines, sha256_file, write_atomic, write_json


def test_the_order_is_write_fsync_rename_fsync_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def spy_fsync(descriptor: int) -> None:
        target = str(Path(f"/proc/self/fd/{descriptor}").readlink())
        seen.append("fsync folder" if target == str(tmp_path) else "fsync file")
        fsync(descriptor)

    def spy_replace(self: Path, target: Path) -> Path:
        seen.append("rename")
        assert self.read_text() == "text"
        return replace(self, target)

    monkeypatch.setattr(os, "fsync", spy_fsync)
    monkeypatch.setattr(Path, "replace", spy_replace)
    write_atomic(tmp_path / "file", "text")
    assert seen == ["fsync file", "rename", "fsync folder"]


def test_a_failed_write_keeps_the_old_text_and_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_json_refuses_what_is_not_json(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"loss": float("nan")})
    assert not list(tmp_path.iterdir())


def test_sha256(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256_file(tmp_path / "file").startswith("ba7816bf")


def test_only_a_line_feed_ends_a_line_of_json(tmp_path: Path) -> None:
    (tmp_path / "rows").write_text('"a\u2028b\x85c"\n\n"d"', "utf-8")
    assert read_json_lines(tmp_path / "rows") == ["a\u2028b\x85c", "d"]


def test_a_program_keeps_its_whole_path_and_its_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "python").symlink_to("/bin/sh")
    assert program("./python") == str(tmp_path / "python")
    assert program("../x/python", Path("/jobs/y")) == "/jobs/y/../x/python"
    assert program("python3") == "python3"


@pytest.mark.parametrize(
    ("name", "plain"),
    [("cpu-base [x] #1", "cpu-base-x-1"), ("a100-48gb-7b", "a100-48gb-7b"), ("ü.v1_2+b", "ü.v1_2+b"), ("$*", "x")],
)
def test_a_plain_name_has_nothing_that_is_read_as_more(name: str, plain: str) -> None:
    assert plain_name(name) == plain
