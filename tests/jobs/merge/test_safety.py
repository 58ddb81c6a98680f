"""Killed, starved of disk, or fed damage: the merge leaves nothing half-written, and goes on where it stopped."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from launcher.errors import BadInput, RunFailed, Unreadable
from launcher.files import sha256_file
from launcher.jobs.merge import writer

SHARD = 200_000
"""Bytes per shard: the small model has half a dozen."""

# Imports torch once. Then for each point a child that dies by SIGKILL at one call of a function by which bytes reach
# the disk: [function, share of its calls in the whole merge before], or null for a whole merge. The point names the
# function because three threads call them: which call is the n-th of all differs from run to run. With "resume", a
# second child follows that runs the same merge to its end.
KILLED = """
import collections, hashlib, json, os, pathlib, shutil, signal, sys, threading
sys.path.insert(0, {root!r})
from launcher.records.jobs import MERGE

request, points, resume = json.loads(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3] == "resume"
calls, lock = collections.Counter(), threading.Lock()

def dying(name, function, at, report):
    def call(*args, **kwargs):
        with lock:
            calls[name] += 1
            mine = calls[name]
        if mine == at:
            if name == "write":  # half of the bytes arrive
                function(args[0], bytes(args[1])[: len(args[1]) // 2])
            pathlib.Path(report).write_text(json.dumps(name))
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*args, **kwargs)
    return call

def child(at, report):
    pid = os.fork()
    if pid == 0:
        if at is not None:
            os.write = dying("write", os.write, at.get("write"), report)
            os.fsync = dying("fsync", os.fsync, at.get("fsync"), report)
            pathlib.Path.replace = dying("rename", pathlib.Path.replace, at.get("rename"), report)
        MERGE.do(request, lambda message: None)
        pathlib.Path(report).write_text(json.dumps(calls))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

def digests():
    out = pathlib.Path(request["out"])
    if not out.exists():
        return None
    return {{path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sorted(out.iterdir())}}

whole = {{}}
for number, point in enumerate(points):
    at = {{point[0]: 1 + round(point[1] * (whole[point[0]] - 1))}} if point else {{}}
    report = request["out"] + ".report"
    code = child(at, report)
    line = {{"code": code, "said": json.loads(pathlib.Path(report).read_text()), "left": digests()}}
    if code == 0:
        whole = line["said"]
    if resume:
        line["resumed"] = child(None, report)
        line["ended"] = digests()
    if resume or (code == 0 and number + 1 < len(points)):
        shutil.rmtree(request["out"])
    print(json.dumps(line), flush=True)
"""
Point = tuple[str, float] | None


@pytest.fixture
def request_(make_base: Callable[..., Path], train: Callable[..., Any], tmp_path: Path) -> dict[str, Any]:
    trained = train(make_base())
    return {
        "base": str(trained.base),
        "adapter": str(trained.adapter),
        "out": str(tmp_path / "merged"),
        "record": trained.record,
        "device": "cpu",
        "shard_bytes": SHARD,
    }


def contents(folder: Path) -> dict[str, str]:
    return {path.name: sha256_file(path) for path in folder.iterdir()}


def run_killed(root: Path, request: dict[str, Any], *points: Point, resume: bool = False) -> list[dict[str, Any]]:
    """One report for each point: the exit code, the call it died in (or how many of each there were), what was left."""
    argv = [sys.executable, "-c", KILLED.format(root=str(root)), json.dumps(request), json.dumps(points)]
    done = subprocess.run(
        [*argv, "resume" if resume else "once"], capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_killed_twenty_times_it_ends_with_the_same_bytes(root: Path, request_: dict[str, Any]) -> None:
    points = [
        *(("write", number / 7) for number in range(8)),
        *(("fsync", number / 5) for number in range(6)),
        *(("rename", number / 5) for number in range(6)),
    ]
    whole, *reports = run_killed(root, request_, None, *points, resume=True)
    assert whole["code"] == 0
    assert len(reports) == 20
    for report, (name, _) in zip(reports, points, strict=True):
        assert report["code"] == -signal.SIGKILL
        assert report["said"] == name
        assert report["left"] in (None, whole["left"])  # complete or not there
        assert report["resumed"] == 0
        assert report["ended"] == whole["left"]


def interrupted(root: Path, request: dict[str, Any]) -> dict[str, str]:
    """Leave a merge that died two thirds through; returns what it would have become."""
    whole, _ = run_killed(root, request, None, ("fsync", 0.67))
    left: dict[str, str] = whole["left"]
    return left


def test_what_was_finished_is_kept(root: Path, request_: dict[str, Any]) -> None:
    from launcher.records.jobs import MERGE

    interrupted(root, request_)
    staging = Path(request_["out"]).with_name(".merged.merging")
    kept = {path.name: path.stat().st_mtime_ns for path in staging.glob("*.safetensors")}
    assert kept
    result = MERGE.do(request_, lambda message: None)
    assert result["resumed_shards"] >= len(kept) - 1  # one may be renamed and not yet in the ledger
    merged = Path(request_["out"])
    assert sum((merged / name).stat().st_mtime_ns == time for name, time in kept.items()) == result["resumed_shards"]


def test_a_damaged_leftover_is_made_again(root: Path, request_: dict[str, Any]) -> None:
    from launcher.records.jobs import MERGE

    wanted = interrupted(root, request_)
    staging = Path(request_["out"]).with_name(".merged.merging")
    first = min(staging.glob("*.safetensors"))
    data = bytearray(first.read_bytes())
    data[-1] ^= 1
    first.write_bytes(bytes(data))
    MERGE.do(request_, lambda message: None)
    assert contents(Path(request_["out"])) == wanted


def test_other_inputs_do_not_resume(root: Path, request_: dict[str, Any]) -> None:
    from launcher.records.jobs import MERGE

    interrupted(root, request_)
    assert MERGE.do({**request_, "base_mode": "original"}, lambda message: None)["resumed_shards"] == 0


def test_the_same_merge_again_is_already_done(request_: dict[str, Any]) -> None:
    from launcher.records.jobs import MERGE

    first = MERGE.do(request_, lambda message: None)
    again = MERGE.do(request_, lambda message: None)
    assert again["shards"] == first["shards"]
    assert again["seconds"] == 0.0


def test_a_folder_with_something_else_in_it_is_not_touched(request_: dict[str, Any]) -> None:
    from launcher.records.jobs import MERGE

    out = Path(request_["out"])
    out.mkdir()
    (out / "mine.txt").write_text("keep")
    with pytest.raises(Unreadable, match="not empty"):
        MERGE.do(request_, lambda message: None)
    assert [path.name for path in out.iterdir()] == ["mine.txt"]


def test_a_shard_is_written_synced_renamed_and_its_folder_synced(
    request_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.records.jobs import MERGE

    events: list[tuple[str, str]] = []
    opened: dict[int, str] = {}
    real_open, real_write, real_fsync, real_replace = os.open, os.write, os.fsync, Path.replace

    def fake_open(path: Any, *args: Any, **kwargs: Any) -> int:
        descriptor = real_open(path, *args, **kwargs)
        opened[descriptor] = Path(path).name
        return descriptor

    def fake_write(descriptor: int, data: Any) -> int:
        events.append(("write", opened.get(descriptor, "")))
        return real_write(descriptor, data)

    def fake_fsync(descriptor: int) -> None:
        events.append(("fsync", opened.get(descriptor, "")))
        real_fsync(descriptor)

    def fake_replace(self: Path, target: Any) -> Path:
        events.append(("rename", self.name))
        return real_replace(self, target)

    monkeypatch.setattr(os, "open", fake_open)
    monkeypatch.setattr(os, "write", fake_write)
    monkeypatch.setattr(os, "fsync", fake_fsync)
    monkeypatch.setattr(Path, "replace", fake_replace)
    result = MERGE.do(request_, lambda message: None)
    for shard in result["shards"]:
        own = [event for event, name in events if name == f".{shard['file']}.tmp"]
        assert own == ["write"] * (len(own) - 2) + ["fsync", "rename"]
    # Blocks of the next shard are written meanwhile; syncs and renames come one after another.
    ledger = ".merge-progress.json"
    others = [(event, ledger if name.startswith(ledger) else name) for event, name in events if event != "write"]
    entered = [("fsync", ledger), ("rename", ledger), ("fsync", ".merged.merging")]
    wanted = list(entered)
    for shard in result["shards"]:
        temporary = f".{shard['file']}.tmp"
        wanted += [("fsync", temporary), ("rename", temporary), ("fsync", ".merged.merging"), *entered]
    assert len(result["shards"]) > 3
    assert others[: len(wanted)] == wanted
    assert events[-2:] == [("rename", ".merged.merging"), ("fsync", Path(request_["out"]).parent.name)]
    assert ("fsync", "config.json") in events


def test_a_full_disk_names_the_tensor_and_keeps_finished_shards(
    request_: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from launcher.records.jobs import MERGE

    real = os.write
    written = 0

    def full(descriptor: int, data: Any) -> int:
        nonlocal written
        written += len(data)
        if written > 450_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    with monkeypatch.context() as patch:
        patch.setattr(writer.os, "write", full)
        with pytest.raises(RunFailed, match=r"the disk is full while writing tensor 'model\.layers") as caught:
            MERGE.do(request_, lambda message: None)
    assert "run the same merge again" in str(caught.value)
    assert not Path(request_["out"]).exists()
    staging = Path(request_["out"]).with_name(".merged.merging")
    assert not list(staging.glob(".*.tmp"))
    assert MERGE.do(request_, lambda message: None)["resumed_shards"] == 2


def test_too_little_space_is_said_first(request_: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    from launcher.records.jobs import MERGE

    usage = shutil._ntuple_diskusage  # type: ignore[attr-defined]
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda path: usage(10**9, 10**9, 10**5))
    with pytest.raises(RunFailed, match=r"needs .* GiB and .* free"):
        MERGE.do(request_, lambda message: None)
    assert not Path(request_["out"]).exists()
    assert not Path(request_["out"]).with_name(".merged.merging").exists(), "an empty folder stays behind"


def damage(base: str, change: Callable[[dict[str, Any]], None]) -> None:
    from safetensors.torch import load_file, save_file

    path = Path(base) / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("name", "value", "quantised"),
    [
        ("model.layers.1.mlp.up_proj.weight", float("nan"), True),
        ("model.layers.1.mlp.up_proj.weight", float("inf"), True),
        ("model.embed_tokens.weight", float("nan"), False),
        ("model.norm.weight", float("-inf"), False),
    ],
)
def test_a_non_finite_value_names_its_tensor(
    request_: dict[str, Any], name: str, value: float, quantised: bool
) -> None:
    from launcher.records.jobs import MERGE

    damage(request_["base"], lambda tensors: tensors[name].view(-1)[7:8].fill_(value))
    with pytest.raises(BadInput, match=rf"'{name}' has non-finite values"):
        MERGE.do(request_, lambda message: None)
    assert not Path(request_["out"]).exists()


@pytest.mark.parametrize("kind", ["fp4", "int8"])
def test_a_non_finite_value_is_not_hidden_by_quantisation(request_: dict[str, Any], kind: str) -> None:
    from launcher.records.jobs import MERGE

    name = "model.layers.1.mlp.up_proj.weight"
    damage(request_["base"], lambda tensors: tensors[name].view(-1)[7:8].fill_(float("nan")))
    request_["record"]["quant_type"] = kind
    with pytest.raises(BadInput, match=rf"'{name}' has non-finite values"):
        MERGE.do(request_, lambda message: None)


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"])
def test_float16_overflow_offers_bfloat16(request_: dict[str, Any], name: str) -> None:
    from launcher.records.jobs import MERGE

    damage(request_["base"], lambda tensors: tensors[name].view(-1)[7:8].fill_(7e4))
    with pytest.raises(RunFailed, match=rf"'{name}' reaches .* float16 ends at 65504") as caught:
        MERGE.do(request_, lambda message: None)
    assert "--dtype bfloat16" in str(caught.value)
    assert not Path(request_["out"]).exists()
    assert MERGE.do({**request_, "dtype": "bfloat16"}, lambda message: None)["dtype"] == "bfloat16"


@pytest.mark.parametrize("name", ["model.layers.1.mlp.up_proj.weight", "model.embed_tokens.weight"])
def test_overflow_of_the_dtype_that_training_loaded_is_told_apart(request_: dict[str, Any], name: str) -> None:
    from launcher.records.jobs import MERGE

    damage(request_["base"], lambda tensors: tensors[name].view(-1)[7:8].fill_(7e4))
    request_["record"]["load_dtype"] = "float16"
    with pytest.raises(RunFailed, match=rf"'{name}' reaches 70144, and the base was loaded in float16"):
        MERGE.do(request_, lambda message: None)


def test_a_truncated_shard_names_the_tensor(request_: dict[str, Any]) -> None:
    from launcher.records.jobs import MERGE

    path = Path(request_["base"]) / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(BadInput, match=r"cut short.*tensor '.*' ends at"):
        MERGE.do(request_, lambda message: None)
    assert not Path(request_["out"]).exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no tensors here at all", b"\x10" + b"\0" * 7 + b"{not json at all"])
def test_what_is_no_safetensors_file_is_refused(request_: dict[str, Any], data: bytes) -> None:
    from launcher.records.jobs import MERGE

    (Path(request_["base"]) / "model.safetensors").write_bytes(data)
    with pytest.raises(BadInput, match="not a safetensors file"):
        MERGE.do(request_, lambda message: None)


def test_a_missing_shard_is_named(make_base: Callable[..., Path], train: Callable[..., Any], merge: Any) -> None:
    trained = train(make_base(shards=3))
    lost = max(trained.base.glob("model-*.safetensors"))
    lost.unlink()
    with pytest.raises(BadInput, match=lost.name):
        merge(trained)
