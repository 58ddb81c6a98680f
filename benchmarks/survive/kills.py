"""Kill a 20-step pipeline at many places, resume it, and compare the result with an undisturbed run's.

    python benchmarks/survive/kills.py --backend axolotl --work DIR [--budget 300]

The undisturbed run is copied as it stands at the beginning of each stage; a kill in a stage is made in a process that
resumes such a copy. With --budget nothing new is begun after so many seconds, and a later call goes on: what is done is
in results/kills-BACKEND.json.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.survive.pipeline import (
    ROOT,
    STEPS,
    copy_run,
    distance,
    environment,
    events,
    kill,
    launch_arguments,
    left_behind,
    manifest,
    products,
    ql,
    save,
    stage_state,
    write_inputs,
)  # fmt: skip
from benchmarks.survive.resumable import go_on, read_options, read_results

STAGES = ("prepare", "train", "evaluate", "merge", "verify", "report")
WHOM = ("launcher", "all", "child", "launcher")
OF_TRAINING = (
    "step_when_killed", "newest_complete_checkpoint", "resumed_from_step", "steps_repeated",
    "steps_lost_beyond_checkpoint",
)  # fmt: skip
LIMIT = 900.0  # seconds for one process; a run that takes longer hangs


def plan() -> list[dict[str, Any]]:
    """All kills: where, and who is killed. ``share`` is of the stage's time in the undisturbed run."""
    found: list[dict[str, Any]] = []
    for stage in ("report", "merge", "verify", "evaluate"):
        for share, whom in zip((0.1, 0.4, 0.6, 0.85), WHOM, strict=True):
            whom = "all" if stage == "report" and whom == "child" else whom  # that stage has no child
            found.append({"stage": stage, "when": f"at {share:.0%} of the stage", "share": share, "whom": whom})
    for when, whom in (
        ("at step 3", "launcher"), ("at step 8", "all"), ("while checkpoint-10 is written", "all"),
        ("at step 13", "child"), ("after the last step", "launcher"), ("before the first step", "all"),
    ):  # fmt: skip
        found.append({"stage": "train", "when": when, "whom": whom})
    for share, whom in zip((0.05, 0.3, 0.6, 0.9), ("launcher", "all", "launcher", "all"), strict=True):
        found.append({"stage": "prepare", "when": f"at {share:.0%} of the stage", "share": share, "whom": whom})
    # One of each stage first, then the second of each: a benchmark that is cut short has seen them all.
    turn = [sum(other["stage"] == item["stage"] for other in found[:index]) for index, item in enumerate(found)]
    found = [item for _, item in sorted(zip(turn, found, strict=True), key=lambda pair: pair[0])]
    return [{"name": f"{item['stage']}, {item['when']}, {item['whom']}", **item} for item in found]


def undisturbed(backend: str, work: Path) -> dict[str, Any]:
    """Two undisturbed runs; of the first, a copy at the beginning of each stage."""
    data, golden = write_inputs(work / "inputs")
    out = work / "undisturbed"
    if not (work / "undisturbed.json").exists():
        code = f"""
import shutil, sys
from pathlib import Path
from launcher.runs.observer import Silent
class Copies(Silent):
    def stage(self, name, state, note=""):
        if state == "running":
            run, target = Path({str(out)!r}), Path({str(work)!r}) / "at" / name
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(run, target, symlinks=True)
    def close(self): pass
import launcher.cli.progress as progress
progress.make_progress = lambda *_: Copies()
from launcher.cli.main import main
main({launch_arguments(backend, data, golden, out)!r})
"""
        with (work / "undisturbed.log").open("ab") as log:
            done = subprocess.run(
                [sys.executable, "-c", code], env=environment(), cwd=ROOT, stdout=log, stderr=log, check=False
            )
        assert done.returncode == 0, (work / "undisturbed.log").read_text()[-3000:]
        seconds = {stage["name"]: stage["seconds"] for stage in manifest(out)["stages"]}
        save(work / "undisturbed.json", {"seconds": seconds, **products(out)})
    found: dict[str, Any] = json.loads((work / "undisturbed.json").read_text())
    return found


def reached(run: Path, item: dict[str, Any], began: float | None, seconds: dict[str, float]) -> bool:
    """Whether the moment to kill has come."""
    if "share" in item:
        return began is not None and time.monotonic() - began >= item["share"] * seconds[item["stage"]]
    match item["when"]:
        case "before the first step":
            return any(event["event"] == "train_begin" for event in events(run))
        case "after the last step":
            return any(event["event"] == "train_end" for event in events(run))
        case "while checkpoint-10 is written":
            folder = run / "trainer" / "checkpoint-10"
            return folder.is_dir() and not (folder / "ql-complete.json").exists()
    step = int(item["when"].rpartition(" ")[2])
    return any(event["event"] == "log" and event["step"] >= step for event in events(run))


def newest_checkpoint(run: Path) -> int:
    """The step of the newest complete checkpoint; 0 without one."""
    sealed = [path.parent.name for path in (run / "trainer").glob("checkpoint-*/ql-complete.json")]
    return max((int(name.partition("-")[2]) for name in sealed), default=0)


def began_again(steps: list[int]) -> tuple[int, int]:
    """The last step before a training began again, and the step from which it did, by the steps as they were logged."""
    before, after = next((pair for pair in pairwise(steps) if pair[1] <= pair[0]), (steps[-1], steps[-1] + 1))
    return before, after - 1


def kill_in_time(
    process: subprocess.Popen[bytes], run: Path, item: dict[str, Any], seconds: dict[str, float]
) -> dict[int, str]:
    """Kill once the moment has come, or when the run has ended before; what `kill` says of whom it met."""
    began: float | None = None
    deadline = time.monotonic() + LIMIT
    quick = item["stage"] in ("prepare", "report") or "checkpoint" in item["when"]
    while process.poll() is None and time.monotonic() < deadline:
        if began is None and stage_state(run, item["stage"]) == "running":
            began = time.monotonic()
        if reached(run, item, began, seconds):
            break
        time.sleep(0.001 if quick else 0.02)
    return kill(process, run, item["whom"])


def exit_code(process: subprocess.Popen[bytes]) -> int:
    """Its exit code; it is ended where two minutes do not suffice."""
    try:
        return process.wait(120)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def training_facts(run: Path, seen: list[int], newest: int, mended: int) -> dict[str, Any]:
    """How far a killed training was, and where it went on; ``seen`` are the steps logged before it was resumed."""
    from_step = None
    last = max(seen, default=0)
    if mended:  # nobody resumed it: its own steps say where it began again
        last, from_step = began_again(seen)
    else:
        resumed = [entry for entry in manifest(run).get("resumes", []) if entry["stage"] == "train"]
        from_step = resumed[-1]["from_step"] if resumed else None
    return {
        "step_when_killed": last,
        "newest_complete_checkpoint": newest,
        "resumed_from_step": from_step,
        "steps_repeated": None if from_step is None else max(0, last - from_step),
        "steps_lost_beyond_checkpoint": None if from_step is None else max(0, newest - from_step),
    }


def kill_and_resume(item: dict[str, Any], work: Path, before: dict[str, Any]) -> dict[str, Any] | None:
    """Kill, look, resume, compare. None when the run had left the stage before it could be killed."""
    run = copy_run(work / "at" / item["stage"], work / "run")
    log = work / "run.log"
    log.unlink(missing_ok=True)
    process = ql("resume", str(run), log=log)
    killed = kill_in_time(process, run, item, before["seconds"])
    newest = newest_checkpoint(run)  # where the launcher lives on, the run adds more while we wait
    code = exit_code(process)
    mended = len(manifest(run).get("repairs", []))
    if stage_state(run, item["stage"]) == "done" and not mended:
        return None
    left = left_behind(run, {} if item["whom"] == "child" else killed)
    seen = [event["step"] for event in events(run) if event["event"] == "log"]
    if item["whom"] != "child":
        newest = newest_checkpoint(run)  # its trainer may have sealed one before it noticed
    begin = time.monotonic()
    again = None
    if manifest(run)["state"] != "finished":
        again = ql("resume", str(run), log=log).wait(LIMIT)
    after = products(run)
    data = manifest(run)
    trained = item["stage"] == "train"
    return {
        **item,
        "exit_code": code,
        "processes_left": left,
        "mended_by_itself": mended,
        "resume_exit_code": again,
        "resume_seconds": round(time.monotonic() - begin, 1),
        "finished": data["state"] == "finished",
        **(training_facts(run, seen, newest, mended) if trained else dict.fromkeys(OF_TRAINING)),
        "adapter_identical": after["adapter"] == before["adapter"],
        "adapter_max_difference": distance(run, work / "undisturbed"),
        "merged_identical": after["merged"] == before["merged"],
        "scores_equal": after["scores"] == before["scores"],
        "notes": [note for note in data.get("notes", []) if "checkpoint" in note],
    }


def one_in_time(item: dict[str, Any], work: Path, before: dict[str, Any]) -> dict[str, Any]:
    """`kill_and_resume`, a few times: each time earlier while the run leaves the stage before it can be killed."""
    for _ in range(4):
        found = kill_and_resume(item, work, before)
        if found is not None:
            return found
        item = {**item, "share": item.get("share", 1.0) / 2}
    return {**item, "missed": True}


def main() -> None:
    begin = time.monotonic()
    options = read_options(__doc__, "kills to do")
    path, results = read_results("kills", options.backend, steps=STEPS)
    before = results["undisturbed"] = undisturbed(options.backend, options.work)
    save(path, results)
    go_on(
        path,
        results,
        "kills",
        {item["name"]: item for item in plan()},
        lambda item: one_in_time(item, options.work, before),
        only=options.only,
        budget=options.budget - (time.monotonic() - begin),
        shown=("name", "finished", "merged_identical", "processes_left", "resume_seconds"),
    )


if __name__ == "__main__":
    main()
