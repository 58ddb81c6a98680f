"""The 20-step pipeline that the benchmarks here kill and break, and what is read off a run of it.

Everything is small on purpose: the built-in cpu-tiny model, 96 rows, 4 golden prompts, 4 rows a step. What is tested is
the launcher and the trainers' resume, not the learning.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
STEPS = 20
SETTINGS = {
    "effective_batch_size": 4,
    "micro_batch_size": 2,
    "max_steps": STEPS,
    "eval_fraction": 0.05,
    "logging_steps": 1,
    "keep": "last",
}
ROWS, PROMPTS = 96, 4


def write_inputs(folder: Path) -> tuple[Path, Path]:
    """The data and the golden set, from the examples; the golden prompts are none of the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    data, golden = folder / "rows.jsonl", folder / "golden.jsonl"
    for path, source, count in ((data, "tickets.jsonl", ROWS), (golden, "golden.jsonl", PROMPTS)):
        lines = (ROOT / "examples" / source).read_text(encoding="utf-8").splitlines()[:count]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return data, golden


def environment(**more: str) -> dict[str, str]:
    path = os.pathsep.join([*more.pop("PYTHONPATH", "").split(os.pathsep), str(ROOT)]).strip(os.pathsep)
    return {**os.environ, "PYTHONPATH": path, "HF_HUB_OFFLINE": "1", **more}


def ql(*arguments: str, log: Path, **variables: str) -> subprocess.Popen[bytes]:
    """`ql ARGUMENTS` in a session of its own, its output appended to ``log``."""
    with log.open("ab") as stream:
        return subprocess.Popen(
            [sys.executable, "-m", "launcher", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env=environment(**variables),
            cwd=ROOT,
        )


def launch_arguments(backend: str, data: Path, golden: Path | None, out: Path, **settings: Any) -> list[str]:
    chosen = {**SETTINGS, **settings}
    sets = [word for key, value in chosen.items() for word in ("--set", f"{key}={value}")]
    return [
        "launch", "--preset", "cpu-tiny", "--backend", backend, "--data", str(data), "--allow-overlap",
        "--out", str(out), *sets, *(["--golden", str(golden)] if golden else []),
    ]  # fmt: skip


def manifest(run: Path) -> dict[str, Any]:
    try:
        data: dict[str, Any] = json.loads((run / "run.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"state": None, "stages": []}
    return data


def stage_state(run: Path, name: str) -> str | None:
    return next((stage["state"] for stage in manifest(run)["stages"] if stage["name"] == name), None)


def events(run: Path) -> list[dict[str, Any]]:
    found = []
    path = run / "events.jsonl"
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def products(run: Path) -> dict[str, Any]:
    """Hashes of what a run ships, and its scores."""
    data = manifest(run)
    adapter = run / "adapter" / "adapter_model.safetensors"
    merged = sorted((run / "merged").glob("*.safetensors")) if (run / "merged").is_dir() else []
    return {
        "adapter": hashlib.sha256(adapter.read_bytes()).hexdigest() if adapter.exists() else None,
        "merged": hashlib.sha256(b"".join(path.read_bytes() for path in merged)).hexdigest() if merged else None,
        "scores": {name: values["exact_match"] for name, values in data.get("golden_scores", {}).items()},
    }


def distance(run: Path, reference: Path) -> float | None:
    """The largest difference of any adapter weight from the reference run's; None when one has no adapter."""
    from safetensors.torch import load_file

    files = [folder / "adapter" / "adapter_model.safetensors" for folder in (run, reference)]
    if not all(path.exists() for path in files):
        return None
    ours, theirs = (load_file(path) for path in files)
    return max(float((ours[name].float() - theirs[name].float()).abs().max()) for name in theirs)


def processes_of(run: Path, parent: int) -> list[int]:
    """Processes that work on the run: ``parent``, all that came from it, and who has the run's path about him."""
    needle = str(run).encode()
    found, parents = [], {}
    for folder in Path("/proc").glob("[0-9]*"):
        pid = int(folder.name)
        if pid == os.getpid():
            continue
        try:
            text = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
            where = str((folder / "cwd").readlink())
            state, above, *_ = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if state == "Z":
            continue
        parents[pid] = int(above)
        if pid == parent or needle in text or where.startswith(str(run)):
            found.append(pid)
    grown = True
    while grown:
        more = [pid for pid, above in parents.items() if above in found and pid not in found]
        found += more
        grown = bool(more)
    return found


def left_behind(run: Path, killed: dict[int, str], seconds: float = 5.0) -> int:
    """How many processes of a killed run are still there after ``seconds``, of those that were and any new ones."""
    deadline = time.monotonic() + seconds
    while True:
        left = {pid for pid, since in killed.items() if started(pid) == since} | set(processes_of(run, -1))
        if not left or time.monotonic() > deadline:
            return len(left)
        time.sleep(0.05)


def started(pid: int) -> str | None:
    """When a process started, in the kernel's ticks; None when it is gone. Tells a process from a later namesake."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def kill(process: subprocess.Popen[bytes], run: Path, whom: str) -> dict[int, str]:
    """SIGKILL to the launcher alone, to its children alone, or to all at once as in a power cut.

    Returns the processes that were there, with the time each started.
    """
    ours = [pid for pid in processes_of(run, process.pid) if not is_keeper(pid) or whom == "all"]
    there = {pid: since for pid in ours if (since := started(pid))}
    if whom == "launcher":
        process.kill()
    elif whom == "child":
        for pid in ours:
            if pid != process.pid:
                end(pid)
    else:
        for pid in {process.pid, *ours}:
            end(pid)
    return there


def end(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_keeper(pid: int) -> bool:
    """Whether a process is the launcher's keeper, which ends what a dead launcher leaves behind."""
    try:
        return b"keeper.py" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def copy_run(source: Path, target: Path) -> Path:
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(source, target, symlinks=True)
    return target


def save(path: Path, data: Any) -> None:
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    temporary.replace(path)
