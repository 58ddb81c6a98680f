"""The run of everything on a GPU, and the collecting of what it brought back: with small files, no GPU, no trainer."""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from load_script import load_script

ROOT = Path(__file__).resolve().parents[2]
BENCHMARKS = ROOT / "benchmarks"


on_gpu, collect = load_script(BENCHMARKS / "on_gpu.py"), load_script(BENCHMARKS / "collect_gpu.py")


# --- running ---


def options(tmp_path: Path, seconds: float = 60.0, **more: Any) -> argparse.Namespace:
    named = {"out": tmp_path / "out", "state": tmp_path / "state", "seconds": seconds, "tiny": False, "before": None}
    return argparse.Namespace(**named | more)


def part(name: str, code: str, tmp_path: Path, *, least: float = 0.0) -> Any:
    """A part that runs python code, good when it wrote {"good": true} into bare_export.json."""
    script = tmp_path / f"{name}.py"
    script.write_text(code)
    return on_gpu.Part(
        name, "", 1, 1, lambda options, left: [[str(script), str(options.state)]],
        lambda state: on_gpu.read(state / f"{name}.json").get("good", False), least=least,
    )  # fmt: skip


WRITES = "import json, pathlib, sys; pathlib.Path(sys.argv[1], '{}.json').write_text(json.dumps({{'good': True}}))"


def events(run: Any, name: str) -> list[dict[str, Any]]:
    return [entry for entry in run.log if entry.get("part") == name]


def test_a_part_that_fails_stops_no_other_and_what_is_done_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = {
        "broken": part("broken", "import sys; sys.exit(3)", tmp_path),
        "bare_export": part("bare_export", WRITES.format("bare_export"), tmp_path),
    }
    monkeypatch.setattr(on_gpu, "PARTS", parts)
    monkeypatch.setattr(on_gpu, "clear_up", lambda: None)
    run = on_gpu.Run(options(tmp_path))
    for name in parts:
        run.go([name])
    run.copy()
    assert [entry.get("exit_code") for entry in events(run, "broken")] == [None, 3, None]
    assert events(run, "broken")[-1]["result"] == "not as wanted"
    assert json.loads((tmp_path / "out" / "bare_export.json").read_text()) == {"good": True}
    again = on_gpu.Run(options(tmp_path))
    again.go(["bare_export"])
    assert events(again, "bare_export")[-1]["skipped"] == "done already"
    assert len(again.log) > 3  # with what the first call noted


HANGS = """
import signal, subprocess, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
open(sys.argv[1] + "/child", "w").write(str(child.pid))
time.sleep(600)
"""
# In a process of its own, since it adopts orphans and kills all below it.
DRIVER = """
import argparse, pathlib, sys
sys.path.insert(0, sys.argv[1])
import on_gpu
folder = pathlib.Path(sys.argv[2])
on_gpu.GRACE_SECONDS = 1.0
on_gpu.PARTS = {"hangs": on_gpu.Part(
    "hangs", "", 1, 1, lambda options, left: [[str(folder / "hangs.py"), str(options.state)]],
    lambda state: False, least=0.0,
)}
on_gpu.adopt()
run = on_gpu.Run(argparse.Namespace(out=folder / "out", state=folder / "state", seconds=13.0, tiny=False))
run.go(["hangs"])
"""


def test_a_part_whose_time_is_up_is_stopped_with_all_that_it_started(tmp_path: Path) -> None:
    (tmp_path / "hangs.py").write_text(HANGS)
    argv = [sys.executable, "-c", DRIVER, str(BENCHMARKS), str(tmp_path)]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "state" / "on_gpu.json").read_text())[1]["exit_code"] == -9
    pid = int((tmp_path / "state" / "child").read_text())
    status = Path(f"/proc/{pid}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_part_that_has_too_little_time_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(on_gpu, "PARTS", {"long": part("long", "", tmp_path, least=1e4)})
    monkeypatch.setattr(on_gpu, "clear_up", lambda: None)
    run = on_gpu.Run(options(tmp_path))
    run.go(["long"])
    assert events(run, "long") == [events(run, "long")[0]]
    assert events(run, "long")[0]["skipped"] == "too little time is left"


def test_at_most_eight_files_come_back_each_of_them_whole(tmp_path: Path) -> None:
    run = on_gpu.Run(options(tmp_path))
    state = tmp_path / "state"
    for name in ("results.jsonl", "presets.json", "calibrate.json", "bare_export.json", "device_both.json"):
        (state / name).write_text('{"a": 1}\n')
    for backend in on_gpu.BACKENDS:
        (state / f"oom-{backend}.json").write_text(json.dumps({"state": backend}))
    (state / "logs" / "both-0.log").write_bytes(b"\xff said")
    run.note(part="end")
    run.copy()
    found = {path.name for path in (tmp_path / "out").iterdir()}
    assert len(found) == 8
    assert json.loads((tmp_path / "out" / "oom.json").read_text())["unsloth"] == {"state": "unsloth"}
    assert "said" in (tmp_path / "out" / "logs.txt").read_text()


def test_a_machine_without_its_state_goes_on_from_what_came_back(tmp_path: Path) -> None:
    before = tmp_path / "before"
    before.mkdir()
    (before / "oom.json").write_text(json.dumps({"axolotl": {"state": "finished"}, "unsloth": {"state": "finished"}}))
    (before / "results.jsonl").write_text("{}\n")
    on_gpu.restore(options(tmp_path, before=before))
    assert (tmp_path / "state" / "results.jsonl").exists()
    assert on_gpu.PARTS["repairs"].good(tmp_path / "state")
    assert not on_gpu.PARTS["exports"].good(tmp_path / "state")


@pytest.mark.parametrize("tiny", [False, True])
def test_every_part_starts_a_script_that_is_there_with_limits_inside_the_time(tmp_path: Path, tiny: bool) -> None:
    for part in on_gpu.PARTS.values():
        for argv in part.argv(options(tmp_path, tiny=tiny), 200.0):
            assert (BENCHMARKS / argv[0]).is_file()
            for flag in ("--limit", "--seconds"):
                if flag in argv:
                    assert 0 < float(argv[argv.index(flag) + 1]) < 200


# --- collecting ---


def record(name: str, rows: int, *, at: float = 1.0, kind: str = "preset", **more: Any) -> dict[str, Any]:
    shape = {"sequence_len": 2048, "micro_batch_size": rows, "eval_rows": 1, "rows": "full", "presets": ["a10g-7b"]}
    peaks = {"allocated_gib": 9.0, "reserved_gib": 10.0}
    return {"kind": kind, "id": name, "shape": shape, "training": peaks, "at": at} | more


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    folder = tmp_path / "brought"
    folder.mkdir()
    return folder


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The committed results, in the real formats."""
    folder = tmp_path / "benchmarks"
    for name in ("presets/results", "sizing/results", "survive/results"):
        shutil.copytree(BENCHMARKS / name, folder / name, ignore=shutil.ignore_patterns("blind"))
    for name in ("device", "compare"):
        (folder / name).mkdir()
    shutil.copy(BENCHMARKS / "device" / "bare_export.json", folder / "device")
    return folder


def write_records(folder: Path, *records: dict[str, Any], tail: str = "") -> None:
    (folder / "results.jsonl").write_text("".join(json.dumps(one) + "\n" for one in records) + tail)


def lines(root: Path) -> list[dict[str, Any]]:
    path = root / "presets" / "results" / "results.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_newer_records_replace_older_ones_and_failures_nothing(root: Path, brought: Path) -> None:
    first = lines(root)[0]
    newer = {**first, "at": first["at"] + 1000, "alone": True}
    failed = {**lines(root)[1], "at": first["at"] + 1000, "error": "RuntimeError: x"}
    write_records(brought, newer, failed, record("new", 4), record("new", 8, error="x", training=None), tail='{"cut')
    count = len(lines(root))
    collect.collect(brought, root)
    found = lines(root)
    assert len(found) == count + 2
    assert found[0] == newer
    assert "error" not in found[1]
    collect.collect(brought, root)
    assert lines(root) == found


def test_a_job_in_parts_is_one_job(root: Path, brought: Path) -> None:
    write_records(brought, record("a-whole", 4, at=2.0), record("a-later", 4, at=1.0))
    count = len(lines(root))
    collect.collect(brought, root)
    assert len(lines(root)) == count + 1
    assert lines(root)[-1]["id"] == "a-whole"


def test_the_blind_test_goes_to_the_memory_model(root: Path, brought: Path) -> None:
    predictions = json.loads((BENCHMARKS / "sizing" / "blind-predictions.json").read_text())
    job = predictions["jobs"][0]
    shape = next(one for one in job["shapes"] if one.get("expected") == "fits")
    one = record(job["id"], 8, kind="blind") | {"shape": shape}
    write_records(brought, one, {**one, "shape": job["shapes"][0], "error": "x"})
    count = len(lines(root))
    collect.collect(brought, root)
    names = [path.stem for path in (root / "sizing" / "results" / "blind").glob("*.json")]
    assert names == [name for name in names if name in predictions["cases"]]
    assert len(names) == 1
    assert names[0].endswith("-fits")
    assert len(lines(root)) == count


def test_each_other_file_goes_to_its_place_unless_what_is_there_is_better(root: Path, brought: Path) -> None:
    better = json.loads((root / "device" / "bare_export.json").read_text())
    assert {case["exit_code"] for case in better["cases"]} == {0}
    worse = {**better, "cases": [{**case, "exit_code": -9} for case in better["cases"]]}
    cut = {**better, "cases": [{**better["cases"][0], "exit_code": -9}, *better["cases"][1:]]}
    (root / "device" / "bare_export.json").write_text(json.dumps(cut))
    repaired = {"state": "finished", "repairs": [{"action": "halve"}], "backend": "unsloth"}
    (brought / "oom.json").write_text(json.dumps({"unsloth": repaired}))
    (brought / "device_both.json").write_text(json.dumps({"exit_code": 0}))
    (brought / "presets.json").write_text(json.dumps({"a10g-7b": {}}))
    cut_off = {"cases": [{"preset": "h100-7b", "calibration": {"error": "not done after 9 s"}}]}
    (brought / "calibrate.json").write_text(json.dumps(cut_off))
    before = (root / "presets" / "results" / "calibrate.json").read_text()
    for content, kept in ((worse, cut), (better, better), (worse, better)):
        (brought / "bare_export.json").write_text(json.dumps(content))
        collect.collect(brought, root)
        assert json.loads((root / "device" / "bare_export.json").read_text()) == kept
    assert json.loads((root / "survive" / "results" / "oom-unsloth.json").read_text()) == repaired
    assert json.loads((root / "compare" / "device_both.json").read_text()) == {"exit_code": 0}
    assert json.loads((root / "presets" / "results" / "presets.json").read_text()) == {"a10g-7b": {}}
    assert (root / "presets" / "results" / "calibrate.json").read_text() == before


def test_a_file_that_is_no_json_is_said(root: Path, brought: Path) -> None:
    (brought / "oom.json").write_text('{"cut')
    with pytest.raises(SystemExit, match=r"oom\.json: not JSON"):
        collect.collect(brought, root)
