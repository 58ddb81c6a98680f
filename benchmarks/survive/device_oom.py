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
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

MICRO, LENGTH, STEPS = 32, 1024, 4
SHAPE = {
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 22,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "max_position_embeddings": 2048,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def write_base(folder: Path) -> int:
    """The checkpoint, made on the GPU; how many weights it has."""
    import torch
    from random_checkpoint import write_tokenizer
    from transformers import AutoModelForCausalLM, LlamaConfig

    torch.manual_seed(0)
    with torch.device("cuda"):
        model = AutoModelForCausalLM.from_config(LlamaConfig(**SHAPE), dtype=torch.bfloat16)
    model.save_pretrained(folder)
    write_tokenizer(folder)
    return sum(parameter.numel() for parameter in model.parameters())


def launch(backend: str, gpu: str, base: Path, data: Path, out: Path, cap: float) -> None:
    """`ql launch`, with the trainer's allocator held to ``cap`` GiB. Runs in a process of its own."""
    from launcher.cli.main import main
    from launcher.runs import preflight

    check = preflight.check_environment

    def capped(plan: Any, gpu: Any, needed_gib: float, facts: Any) -> tuple[float, list[str]]:
        _, notes = check(plan, gpu, needed_gib, facts)
        text = f"benchmark: the trainer is held to {cap:.1f} GiB, where {needed_gib:.1f} GiB are planned"
        return round(cap / facts["devices"][0]["total_gib"], 4), [*notes, text]

    preflight.check_environment = capped
    settings = {
        "micro_batch_size": MICRO, "effective_batch_size": MICRO, "sequence_len": LENGTH, "max_steps": STEPS,
        "eval_fraction": 0.1, "chat_template": "inst", "logging_steps": 1,
        "gradient_checkpointing": "false", "activation_offload": "false",
    }  # fmt: skip
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    main(
        [
            "launch",
            "--gpu",
            gpu,
            "--model",
            str(base),
            "--backend",
            backend,
            "--data",
            str(data),
            "--out",
            str(out),
            *sets,
        ]
    )


def card() -> tuple[str, str]:
    """The catalog's name of the card that is here, and the driver's."""
    import torch

    name = torch.cuda.get_device_name(0)
    return ("h200" if "H200" in name else "h100"), name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", choices=("axolotl", "unsloth"), default="unsloth")
    parser.add_argument("--cap-gib", type=float, default=24.0, help="what the trainer's allocator may take, in GiB")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=150.0, help="seconds")
    parser.add_argument("--inner", nargs=3, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    gpu, name = card()
    if options.inner:
        launch(options.backend, gpu, *options.inner, options.cap_gib)
        return
    with tempfile.TemporaryDirectory() as scratch:
        from random_checkpoint import write_rows

        base, data, run = (Path(scratch) / part for part in ("base", "rows.jsonl", "run"))
        begin = time.monotonic()
        weights = write_base(base)
        write_rows(data, 200, 1000)
        made = time.monotonic() - begin
        argv = [sys.executable, __file__, "--backend", options.backend, "--cap-gib", str(options.cap_gib)]
        argv += ["--out", str(options.out), "--inner", str(base), str(data), str(run)]
        begin = time.monotonic()
        try:
            done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=options.limit)
            code, said = done.returncode, (done.stdout + done.stderr).splitlines()
        except subprocess.TimeoutExpired as error:
            code, said = 124, (error.stdout or b"").decode(errors="replace").splitlines()
        facts: dict[str, Any] = {
            "card": name, "backend": options.backend, "weights": weights, "cap_gib": options.cap_gib,
            "base_seconds": round(made, 1), "seconds": round(time.monotonic() - begin, 1), "exit_code": code,
            "messages": said[-40:],
        }  # fmt: skip
        if (run / "run.json").is_file():
            data_of = json.loads((run / "run.json").read_text())
            keys = (
                "state",
                "repairs",
                "changes",
                "memory_fraction",
                "estimate",
                "training",
                "merge",
                "stages",
                "notes",
            )
            facts |= {key: data_of.get(key) for key in keys}
            facts["versions"] = data_of["environment"]["versions"]
            facts["planned"] = {
                key: data_of["plan"][key] for key in ("micro_batch_size", "gradient_accumulation_steps")
            }
        if (run / "events.jsonl").is_file():
            facts["events"] = [json.loads(line) for line in (run / "events.jsonl").read_text().splitlines()]
            losses = [event.get("loss") for event in facts["events"] if event["event"] == "log"]
            facts["all_finite"] = bool(losses) and all(isinstance(x, float) and math.isfinite(x) for x in losses)
        if code and (run / "train.log").is_file():
            facts["log"] = (run / "train.log").read_text(errors="replace").splitlines()[-60:]
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(facts, indent=1) + "\n")
    print(code, facts.get("state"), [repair["action"] for repair in facts.get("repairs") or []])


if __name__ == "__main__":
    main()
