"""Measure everything that needs a large GPU, on one machine in half an hour.

    python benchmarks/on_gpu.py --list                                     the parts, with their seconds and GiB
    python benchmarks/on_gpu.py --out OUT --seconds 570 --part both repairs+exports
    python benchmarks/on_gpu.py --out OUT --seconds 580 --part measure
    python benchmarks/collect_gpu.py OUT                                       puts what came back where it belongs

Both trainers must be importable. Parts run one after the other, those joined with a plus at the same time. A call ends
within its seconds and leaves complete files in OUT, at most eight; the next call on the same machine goes on with what
is missing, since everything is kept in --state too. A part that fails stops no other.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
PRICE = "4.54"  # USD an hour for an H200, which `both` turns into costs
PROBES = {  # what is imported before anything is timed: the first time it is read from the disk and compiled
    "axolotl": "import axolotl.cli.train, axolotl.train, bitsandbytes, peft, trl",
    "unsloth": "import unsloth, trl",
}
GRACE_SECONDS = 15.0  # that a part gets to write down what it has when its time is up
SYNC_SECONDS = 5.0
LOG_BYTES = 300_000  # of each log's end
OFFLINE = {"HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "DO_NOT_TRACK": "1", "UNSLOTH_DISABLE_STATISTICS": "1"}
BACKENDS = ("axolotl", "unsloth")
DISK = Path(tempfile.gettempdir())


@dataclass(frozen=True)
class Part:
    """A group of commands that run at the same time; ``seconds`` and ``gib`` of device memory as they were seen."""

    name: str
    says: str
    seconds: int
    gib: int
    argv: Callable[[argparse.Namespace, float], list[list[str]]]
    good: Callable[[Path], bool]
    least: float = 60.0  # with less time left it is not begun
    files: tuple[str, ...] = field(default=())


def calibrated(found: dict[str, Any]) -> int:
    """How many presets of calibrate.json were calibrated."""
    return sum(case.get("calibration", {}).get("exit_code") == 0 for case in found.get("cases", ()))


def read(path: Path) -> Any:
    """What is in a JSON file; {} where there is none, or not yet a whole one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def both(options: argparse.Namespace, left: float) -> list[list[str]]:
    argv = ["compare/device_both.py", "--price", PRICE, "--limit", f"{min(230.0, left - 45):.0f}"]
    argv += ["--gpu", "cpu", "--tiny", "--sequence-len", "128"] if options.tiny else ["--gpu", "h200"]
    return [[*argv, "--out", str(options.state / "device_both.json")]]


def repairs(options: argparse.Namespace, left: float) -> list[list[str]]:
    small = ["--gpu", "cpu", "--tiny"] if options.tiny else []
    limit = f"{min(240.0, left - 45):.0f}"
    common = ["survive/device_oom.py", "--limit", limit, *small]
    return [[*common, "--backend", name, "--out", str(options.state / f"oom-{name}.json")] for name in BACKENDS]


def exports(options: argparse.Namespace, left: float) -> list[list[str]]:
    argv = ["device/bare_export.py", "--steps", "3", "--words", "120", "--limit", f"{min(240.0, left - 50):.0f}"]
    if options.tiny:
        argv += ["--presets", "cpu-tiny", "--base", str(ROOT / "presets/models/cpu-tiny"), "--template", "chatml"]
    else:
        argv += ["--presets", "a10g-7b,h100-7b", "--scratch", str(roomy(20.0))]
    return [[*argv, "--out", str(options.state / "bare_export.json")]]


def measure(options: argparse.Namespace, left: float) -> list[list[str]]:
    argv = ["presets/prove.py", "--out", str(options.state), "--seconds", f"{left - 6:.0f}"]
    argv += ["--done", str(HERE / "presets/results/results.jsonl"), str(options.state / "results.jsonl")]
    if (memory := roomy(44.0)) != DISK:
        argv += ["--memory-store", str(memory / "checkpoints")]
    return [argv + (["--list"] if options.tiny else [])]


def calibrate(options: argparse.Namespace, left: float) -> list[list[str]]:
    argv = ["presets/calibrate.py", "--seconds", f"{left - 5:.0f}"]
    if options.tiny:
        argv += ["--gpu", "cpu", "--base", str(ROOT / "presets/models/cpu-tiny")]
    return [[*argv, "--out", str(options.state / "calibrate.json")]]


def roomy(gib: float) -> Path:
    """The folder in memory where it has so much room, else the temporary one on the disk."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() and shutil.disk_usage(memory).free > gib * 2**30 else DISK


PARTS = {
    part.name: part
    for part in (
        Part(
            "both", "QLoRA and LoRA by `ql launch --method both`, timed: needs the card to itself", 205, 12, both,
            lambda state: read(state / "device_both.json").get("exit_code") == 0, least=120.0,
        ),
        Part(
            "repairs", "a real out-of-memory under a cap, mended, with each trainer", 140, 50, repairs,
            lambda state: all(read(state / f"oom-{name}.json").get("state") == "finished" for name in BACKENDS),
            least=150.0,
        ),
        Part(
            "exports", "exported presets under the bare trainers, to their end", 180, 72, exports,
            lambda state: {case["exit_code"] for case in read(state / "bare_export.json").get("cases", ())} == {0},
            least=120.0,
        ),
        Part(
            "measure", "presets under caps, speeds, methods, dtypes, packing, the blind test", 830, 128, measure,
            lambda state: False, least=90.0,
        ),
        Part(
            "calibrate", "`ql calibrate` of the presets of this very card, timed: needs it to itself", 560, 76,
            calibrate, lambda state: bool(calibrated(read(state / "calibrate.json"))), least=120.0,
        ),
    )
}  # fmt: skip


# --- processes ---


def descendants(of: int) -> list[int]:
    """Every process below ``of``, also of other sessions."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, IndexError):
            continue
    found, level = [], [of]
    while level := [process for process, parent in parents.items() if parent in level]:
        found += level
    return found


def adopt() -> None:
    """Let orphans of this process's children become its own (PR_SET_CHILD_SUBREAPER): none outlives a part."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def clear_up() -> None:
    """Kill whatever a part has left behind."""
    for process in descendants(os.getpid()):
        with contextlib.suppress(OSError):
            os.kill(process, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


class Run:
    """One call: parts in their order, a log of what became of them, and copies in OUT."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.deadline = time.monotonic() + options.seconds - 8  # for the last copies
        self.state, self.out = options.state, options.out
        (self.state / "logs").mkdir(parents=True, exist_ok=True)
        self.out.mkdir(parents=True, exist_ok=True)
        self.log: list[dict[str, Any]] = read(self.state / "on_gpu.json") or []
        self.lock = threading.Lock()

    def left(self) -> float:
        left: float = self.deadline - time.monotonic()
        return left

    def note(self, **facts: Any) -> None:
        facts = {"at": round(time.time(), 1), "left": round(self.left(), 1), **facts}
        print(json.dumps(facts), flush=True)
        self.log.append(facts)
        write(self.state / "on_gpu.json", json.dumps(self.log, indent=1))

    def go(self, group: list[str]) -> None:
        """Run parts at the same time, each command in a process group, until their end or that of the time."""
        children: dict[subprocess.Popen[bytes], str] = {}
        began = time.monotonic()
        for name in group:
            part = PARTS[name]
            if part.good(self.state) or self.left() < part.least:
                self.note(part=name, skipped="done already" if part.good(self.state) else "too little time is left")
                continue
            self.note(part=name, expected=part.seconds)
            for number, argv in enumerate(part.argv(self.options, self.left())):
                with (self.state / "logs" / f"{name}-{number}.log").open("wb") as log:
                    command = [sys.executable, str(HERE / argv[0]), *argv[1:]]
                    child = subprocess.Popen(
                        command, cwd=ROOT, env={**os.environ, **OFFLINE}, stdout=log, stderr=log, start_new_session=True
                    )
                children[child] = name
        codes: dict[subprocess.Popen[bytes], int] = {}
        asked = False
        while len(codes) < len(children):
            for child in [child for child in children if child not in codes and child.poll() is not None]:
                codes[child] = child.returncode
                self.note(part=children[child], exit_code=child.returncode, seconds=round(time.monotonic() - began, 1))
            limit = self.left() - (0 if asked else GRACE_SECONDS if group != ["measure"] else 2.0)
            if limit < 0:
                for child in children:
                    with contextlib.suppress(ProcessLookupError):
                        if child not in codes:
                            os.killpg(child.pid, signal.SIGKILL if asked else signal.SIGTERM)
                asked = True
            time.sleep(0.2)
        for name in set(children.values()):
            if name != "measure" and not PARTS[name].good(self.state):
                self.note(part=name, result="not as wanted")
        clear_up()

    def warm(self) -> None:
        """Import both trainers once."""
        mark = self.state / "warm"
        if mark.exists():
            return
        began = time.monotonic()
        children = [
            subprocess.Popen(
                [sys.executable, "-c", code], env={**os.environ, **OFFLINE, "PYTHONSAFEPATH": "1"}, cwd="/"
            )
            for code in PROBES.values()
        ]
        codes = dict(zip(PROBES, [child.wait() for child in children], strict=True))
        self.note(part="imports", exit_codes=codes, seconds=round(time.monotonic() - began, 1))
        if set(codes.values()) == {0}:
            mark.touch()

    def copy(self) -> None:
        """The state's results as at most eight files in OUT."""
        with self.lock:
            for name in ("results.jsonl", "presets.json", "calibrate.json", "bare_export.json", "device_both.json"):
                if (self.state / name).is_file():
                    write(self.out / name, (self.state / name).read_text(encoding="utf-8"))
            oom = {name: found for name in BACKENDS if (found := read(self.state / f"oom-{name}.json"))}
            if oom:
                write(self.out / "oom.json", json.dumps(oom, indent=1))
            write(self.out / "on_gpu.json", json.dumps(self.log, indent=1))
            write(self.out / "logs.txt", "".join(logs(self.state)))

    def keep_copying(self) -> None:
        while self.left() > 0:
            time.sleep(SYNC_SECONDS)
            self.copy()


def logs(state: Path) -> Iterator[str]:
    for path in sorted([*(state / "logs").glob("*.log"), *state.glob("*.log"), *state.glob("logs.txt")]):
        text = path.read_bytes()[-LOG_BYTES:].decode(errors="replace")
        yield f"===== {path.name}\n{text}\n"


def write(path: Path, text: str) -> None:
    """At once or not at all."""
    beside = path.with_name(path.name + ".new")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def show() -> None:
    for part in PARTS.values():
        print(f"{part.name:10} about {part.seconds:4} s {part.gib:4} GiB  {part.says}")
    print("imports    about   50 s           before the first part of a machine\n")
    subprocess.run([sys.executable, str(HERE / "presets/prove.py"), "--out", "OUT", "--list"], check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--list", action="store_true", help="say what would run, and leave")
    parser.add_argument("--part", nargs="+", default=list(PARTS), metavar="NAME[+NAME]", help=", ".join(PARTS))
    parser.add_argument("--out", type=Path, help="folder for the results")
    parser.add_argument("--seconds", type=float, default=570.0, help="that this call may take")
    parser.add_argument(
        "--state", type=Path, default=Path("/tmp/on_gpu"), help="folder that the next call goes on from"
    )
    parser.add_argument(
        "--from", type=Path, dest="before", help="an earlier call's OUT, on a machine without its state"
    )
    parser.add_argument("--tiny", action="store_true", help="try the parts on a CPU, with tiny models")
    options = parser.parse_args()
    if options.list:
        show()
        return
    groups = [words.split("+") for words in options.part]
    unknown = [name for group in groups for name in group if name not in PARTS]
    if unknown or options.out is None:
        parser.error(f"no part named {', '.join(unknown)}" if unknown else "--out is missing")
    restore(options)
    adopt()
    run = Run(options)
    threading.Thread(target=run.keep_copying, daemon=True).start()
    run.warm()
    for group in groups:
        try:
            run.go(group)
        except Exception as error:
            run.note(part="+".join(group), error=repr(error))
            clear_up()
    run.note(part="end")
    run.copy()


def restore(options: argparse.Namespace) -> None:
    """Take what an earlier call brought back into the state, where that is not there."""
    options.state.mkdir(parents=True, exist_ok=True)
    if options.before is None or (options.state / "on_gpu.json").exists():
        return
    for path in options.before.iterdir():
        if path.name == "oom.json":
            for name, found in read(path).items():
                write(options.state / f"oom-{name}.json", json.dumps(found, indent=1))
        elif path.suffix in (".json", ".jsonl"):
            shutil.copy(path, options.state / path.name)


if __name__ == "__main__":
    main()
