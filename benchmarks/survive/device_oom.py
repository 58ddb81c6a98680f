"""A real out-of-memory on a GPU, under a cap that the plan did not know of, mended to a finished run.

    python benchmarks/survive/device_oom.py --backend unsloth --out oom.json

A Llama of 1.1 B random weights is planned with a micro-batch of 32 rows of 1,024 tokens and without checkpointing,
which takes 34 GiB (measured on an H200, both trainers). The trainer's allocator is then held to 24 GiB, as if the
estimate had been wrong. The run must end finished, with the rows per step it was planned with. One JSON file.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

MICRO, LENGTH, STEPS = 32, 1024, 4
# TinyLlama 1.1B's shape, and one of a million weights.
SHAPE: dict[str, Any] = {
    "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": 2048,
    "tie_word_embeddings": False,
}  # fmt: skip
TINY = SHAPE | {
    "vocab_size": 8192, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2,
    "num_key_value_heads": 2, "head_dim": 32,
}  # fmt: skip
GRACE_SECONDS = 30.0  # that a launch gets to stop its trainer


def hold_to(cap: float) -> Callable[[], None]:
    """Hold trainers to ``cap`` GiB, wherever the launcher checks the card; returns what undoes it."""
    from launcher.runs import launch, preflight, resume  # noqa: F401  (all that call the check)

    check = preflight.check_environment

    def capped(plan: Any, gpu: Any, needed_gib: float, facts: Any) -> tuple[float | None, list[str]]:
        _, notes = check(plan, gpu, min(cap, needed_gib), facts)
        text = f"benchmark: the trainer is held to {cap:.1f} GiB, where {needed_gib:.1f} GiB are planned"
        share = round(cap / facts.devices[0].total_gib, 4) if facts.devices else None
        return share, [*notes, text]

    modules = [
        module
        for name, module in list(sys.modules.items())
        if name.startswith("launcher") and getattr(module, "check_environment", None) is check
    ]

    def set_all(function: Any) -> None:
        for module in modules:
            vars(module)["check_environment"] = function

    set_all(capped)
    return lambda: set_all(check)


def launch(options: argparse.Namespace, base: Path, data: Path, out: Path) -> None:
    """`ql launch`, with the trainer's allocator held to the cap. Runs in a process of its own."""
    from launcher.cli.main import main

    hold_to(options.cap_gib)
    micro, length = (4, 128) if options.tiny else (MICRO, LENGTH)
    settings = {
        "micro_batch_size": micro, "effective_batch_size": micro, "sequence_len": length, "max_steps": STEPS,
        "eval_fraction": 0.1, "chat_template": "inst", "logging_steps": 1,
        "gradient_checkpointing": "false", "activation_offload": "false",
    }  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    argv = ["launch", "--gpu", options.gpu, "--model", str(base), "--backend", options.backend, "--data", str(data)]
    main([*argv, "--out", str(out), *sets])


def run_within(argv: list[str], limit: float) -> tuple[int, list[str]]:
    """The exit code (124: it ran past ``limit`` seconds and was asked to stop) and the last lines that it said."""
    child = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", start_new_session=True
    )
    try:
        said, _ = child.communicate(timeout=limit)
        code = child.returncode
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)  # the launcher stops its trainer, which has a group of its own
        try:
            said, _ = child.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            said = ""  # not read to its end: a trainer may have it open still
        code = 124
    return code, said.splitlines()[-40:]


def run_folder(run: Path) -> dict[str, Any]:
    """What the run's own files say: state, repairs, plan, events, and whether every loss is a number."""
    facts: dict[str, Any] = {}
    if (run / "run.json").is_file():
        manifest = json.loads((run / "run.json").read_text())
        keys = ("state", "repairs", "changes", "memory_fraction", "estimate", "training", "merge", "stages", "notes")
        facts |= {key: manifest.get(key) for key in keys}
        environment = manifest["environment"]
        facts["versions"] = environment["versions"]
        if environment["devices"]:
            facts["card"] = environment["devices"][0]["name"]
        planned = ("micro_batch_size", "gradient_accumulation_steps")
        facts["planned"] = {key: manifest["plan"][key] for key in planned}
    if (run / "events.jsonl").is_file():
        facts["events"] = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
        losses = [event.get("loss") for event in facts["events"] if event["event"] == "log"]
        facts["all_finite"] = bool(losses) and all(isinstance(x, float) and math.isfinite(x) for x in losses)
    return facts


def measure(options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """Make a base and rows, launch in a process of its own within the limit, and read what became of it."""
    from benchmarks.random_checkpoint import write_rows, write_shape

    base, data, run = (scratch / part for part in ("base", "rows.jsonl", "run"))
    begin = time.monotonic()
    base.mkdir()
    weights = write_shape("llama", TINY if options.tiny else SHAPE, base)
    write_rows(data, 200, 1000)
    made = time.monotonic() - begin
    argv = [sys.executable, __file__, "--backend", options.backend, "--cap-gib", str(options.cap_gib)]
    argv += ["--tiny"] if options.tiny else []
    argv += ["--gpu", options.gpu, "--out", str(options.out), "--inner", str(base), str(data), str(run)]
    begin = time.monotonic()
    code, said = run_within(argv, options.limit)
    facts: dict[str, Any] = {
        "card": options.gpu, "backend": options.backend, "weights": weights, "cap_gib": options.cap_gib,
        "base_seconds": round(made, 1), "seconds": round(time.monotonic() - begin, 1), "exit_code": code,
        "messages": said,
    }  # fmt: skip
    facts |= run_folder(run)
    if code and (run / "train.log").is_file():
        facts["log"] = (run / "train.log").read_text(errors="replace").splitlines()[-60:]
    return facts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("axolotl", "unsloth"), default="unsloth")
    parser.add_argument("--cap-gib", type=float, default=24.0, help="what the trainer's allocator may take, in GiB")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=230.0, help="seconds")
    parser.add_argument("--gpu", default="h200", help="card of the catalog to plan for")
    parser.add_argument("--tiny", action="store_true", help="a shape of a million weights: try the script on a CPU")
    parser.add_argument("--inner", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.inner:
        launch(options, *options.inner)
        return
    with tempfile.TemporaryDirectory(prefix="ql-", ignore_cleanup_errors=True) as scratch:
        facts = measure(options, Path(scratch))
    options.out.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(facts, indent=1).replace(scratch, "SCRATCH").replace(str(ROOT), "ROOT")
    options.out.write_text(text + "\n", encoding="utf-8")
    print(facts["exit_code"], facts.get("state"), [repair["action"] for repair in facts.get("repairs") or []])


if __name__ == "__main__":
    main()
