"""The sha256 sums of a merged folder, and where a training run's record is looked for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from launcher.errors import BadInput, Unreadable
from launcher.merge.manifest import check_folder, find_record


@pytest.fixture
def merged(tmp_path: Path) -> Path:
    shards = []
    for name in ("a.safetensors", "b.safetensors"):
        data = name.encode() * 100
        (tmp_path / name).write_bytes(data)
        shards.append({"file": name, "bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()})
    (tmp_path / "merge.json").write_text(json.dumps({"shards": shards}))
    index = {"weight_map": {"x": "a.safetensors", "y": "b.safetensors"}}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    return tmp_path


def test_an_untouched_folder_passes(merged: Path) -> None:
    assert len(check_folder(merged)) == 2


def test_every_damaged_shard_is_named(merged: Path) -> None:
    data = bytearray((merged / "a.safetensors").read_bytes())
    data[50] ^= 1
    (merged / "a.safetensors").write_bytes(bytes(data))
    (merged / "b.safetensors").unlink()
    with pytest.raises(BadInput) as caught:
        check_folder(merged)
    assert [problem.message for problem in caught.value.problems] == [
        "this shard's sha256 is not the one it was written with",
        "this shard is missing",
    ]


def test_a_shard_that_grew_is_named(merged: Path) -> None:
    with (merged / "a.safetensors").open("ab") as stream:
        stream.write(b"x")
    with pytest.raises(BadInput, match="1301 bytes, not 1300"):
        check_folder(merged)


def test_an_index_of_other_shards_is_refused(merged: Path) -> None:
    (merged / "model.safetensors.index.json").write_text('{"weight_map": {"x": "c.safetensors"}}')
    with pytest.raises(BadInput, match="other shards"):
        check_folder(merged)


def test_a_folder_without_manifest_cannot_be_checked(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match=r"no merge\.json in it[\s\S]*a folder that `ql merge` wrote"):
        check_folder(tmp_path)


@pytest.mark.parametrize("place", ["adapter", ".", "trainer"])
def test_the_record_is_found_where_runs_leave_it(tmp_path: Path, place: str) -> None:
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    assert find_record(adapter) is None
    (tmp_path / place).mkdir(exist_ok=True)
    (tmp_path / place / "quantization.json").write_text("{}")
    found = find_record(adapter)
    assert found is not None
    assert found.resolve() == tmp_path / place / "quantization.json"
