"""QLoRA and LoRA on one GPU: `ql launch --method both` on a random checkpoint of a billion weights; results as JSON.

    python benchmarks/compare/device_both.py --out both.json

The weights are random, so the scores say only that the golden set was asked; memory, speed, time and cost are what the
shape makes them. Both runs are without a merge, which costs the same for either. The trainer is imported once before
them, so that the first run does not pay for a cold disk. About 200 seconds on an H200.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.random_checkpoint import write_rows, write_shape  # noqa: E402

GRACE_SECONDS = 25.0  # that a launch gets to stop its trainer
# TinyLlama 1.1B's shape: https://huggingface.co/TinyLlama/TinyLlama-1.1B-Chat-v1.0
SHAPE: dict[str, object] = {
    "vocab_size": 32000, "hidden_size": 2048, "intermediate_size": 5632, "num_hidden_layers": 22,
    "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 64, "max_position_embeddings": 2048,
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": 2,
}  # fmt: skip


def write_golden(data: Path, golden: Path, rows: int) -> None:
    """The last ``rows`` of the data as a golden set with short answers, taken out of the data."""
    lines = data.read_text(encoding="utf-8").splitlines()
    kept, asked = lines[:-rows], [json.loads(line)["messages"] for line in lines[-rows:]]
    data.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    prompts = [{"input": turns[0]["content"], "target": " ".join(turns[1]["content"].split()[:4])} for turns in asked]
    golden.write_text("".join(json.dumps(prompt) + "\n" for prompt in prompts), encoding="utf-8")


def warm_up() -> float:
    """Import what a run imports, once; seconds."""
    began = time.monotonic()
    code = "import axolotl.train, bitsandbytes, peft, trl, transformers"
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "AXOLOTL_DO_NOT_TRACK": "1", "PYTHONSAFEPATH": "1"}
    subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    return round(time.monotonic() - began, 1)


def launch(scratch: Path, options: argparse.Namespace) -> dict[str, Any]:
    runs = scratch / "runs"
    argv = [
        sys.executable, "-m", "launcher", "launch", "--gpu", options.gpu, "--model", str(scratch / "base"),
        "--backend", options.backend, "--method", "both", "--data", str(scratch / "rows.jsonl"),
        "--golden", str(scratch / "golden.jsonl"), "--max-steps", str(options.steps), "--no-merge", "--no-cap",
        "--set", "chat_template=inst", "--set", f"sequence_len={options.sequence_len}", "--set", "evals_per_epoch=2",
        "--out", str(runs), "--json",
    ]  # fmt: skip
    if options.price is not None:
        argv += ["--price", str(options.price)]
    began = time.monotonic()
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    child = subprocess.Popen(
        argv, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    )  # fmt: skip
    try:
        out, err = child.communicate(timeout=options.limit)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGTERM)
        try:
            out, err = child.communicate(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            child.wait()
            out, err = "", ""  # not read to their end: a trainer may have them open still
    facts: dict[str, Any] = {
        "command": argv[1:], "exit_code": child.returncode, "seconds": round(time.monotonic() - began, 1),
        "messages": err.splitlines()[-40:], "comparison": None, "runs": {},
    }  # fmt: skip
    with contextlib.suppress(ValueError):
        facts["comparison"] = json.loads(out)
    for method in ("qlora", "lora"):
        facts["runs"][method] = run_facts(runs / method)
    return facts


def run_facts(folder: Path) -> dict[str, Any]:
    """What the run directory says, also of a run that was cut off."""
    facts: dict[str, Any] = {}
    if (folder / "run.json").is_file():
        run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        keys = ("state", "plan", "estimate", "notes", "stages", "training", "golden_scores", "repairs")
        facts |= {key: run.get(key) for key in keys}
        facts |= {key: run["environment"][key] for key in ("versions", "devices")}
    for name, count in (("train.log", 30), ("evaluate.log", 10)):
        if (folder / name).is_file() and facts.get("state") != "finished":
            facts[name] = (folder / name).read_text(errors="replace").splitlines()[-count:]
    if (folder / "events.jsonl").is_file():
        lines = (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
        facts["events"] = [json.loads(line) for line in lines]
    return facts


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpu", default="h200", help="card of the catalog to plan for")
    parser.add_argument("--backend", default="axolotl")
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--rows", type=int, default=208)
    parser.add_argument("--words", type=int, default=500)
    parser.add_argument("--sequence-len", type=int, default=1024)
    parser.add_argument("--golden", type=int, default=8, help="prompts of the golden set")
    parser.add_argument("--price", type=float, help="USD per hour of the card")
    parser.add_argument("--limit", type=float, default=230, help="seconds after which the launch is stopped")
    parser.add_argument("--tiny", action="store_true", help="a shape of a million weights: try the script on a CPU")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    shape = SHAPE
    if options.tiny:
        shape = {**SHAPE, "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 2}
        shape |= {"num_key_value_heads": 2, "head_dim": 32, "vocab_size": 8192}
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(
        prefix="ql-", dir=memory if memory.is_dir() else None, ignore_cleanup_errors=True
    ) as folder:
        scratch = Path(folder)
        (scratch / "base").mkdir()
        began = time.monotonic()
        weights = write_shape("llama", shape, scratch / "base")
        write_rows(scratch / "rows.jsonl", options.rows, options.words)
        write_golden(scratch / "rows.jsonl", scratch / "golden.jsonl", options.golden)
        results: dict[str, Any] = {"weights": weights, "checkpoint_seconds": round(time.monotonic() - began, 1)}
        results["warm_up_seconds"] = warm_up()
        results |= launch(scratch, options)
        text = json.dumps(results, indent=1).replace(str(scratch), "SCRATCH").replace(str(ROOT), "ROOT")
        options.out.write_text(text + "\n", encoding="utf-8")
    trade = (results["comparison"] or {}).get("trade") or {}
    print(results["exit_code"], results["seconds"], trade.get("words"), trade.get("why"), flush=True)


if __name__ == "__main__":
    main()
