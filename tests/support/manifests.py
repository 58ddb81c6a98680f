"""A finished run on disk, small and without a training: its manifest is of a real plan, its weights are a few bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from launcher.planning.decide import make_plan
from launcher.preparing.request import make_request
from launcher.records.codec import decode
from launcher.records.run import STAGES, Manifest
from launcher.records.summary import Summary
from launcher.runs.inputs import fingerprint
from launcher.runs.run import Run, create_run, now

SCORES = {
    "base": {"exact_match": 0.1, "chrf": 0.2},
    "adapter": {"exact_match": 0.95, "chrf": 0.97},
    "merged": {"exact_match": 0.95, "chrf": 0.97},
}


def new_manifest(**facts: Any) -> Manifest:
    """A manifest of a run that has not begun; ``facts`` as run.json has them."""
    stages = [{"name": name, "state": "pending", "seconds": None} for name in STAGES]
    known = {"name": "run", "version": 1, "state": "running", "created": now(), "stages": stages}
    return decode(Manifest, {**known, **facts})


def make_summary(**facts: Any) -> Summary:
    """What is known first of a finished run with three stages; ``facts`` replace some of it."""
    stages = [{"name": name, "state": "done", "seconds": 1.0} for name in ("prepare", "train", "report")]
    known: dict[str, Any] = {
        "name": "run", "state": "finished", "path": "runs/run", "created": "2026-01-01T00:00:00+00:00",
        "preset": None, "gpu": "a10g", "model": "x", "backend": "x", "method": "qlora", "base_model": "x",
        "stages": stages, "gates": [], "golden": {}, "best_eval_loss": None, "training": None, "merge": None,
        "curve": {"loss": [], "eval_loss": []}, "seconds": 3.0, "usd": None, "price": None,
        "repairs": [], "resumes": [], "notes": [],
    }  # fmt: skip
    return decode(Summary, {**known, **facts})


def finished_run(parent: Path, preset: str = "a10g-7b", **facts: Any) -> Run:
    """A run of ``preset`` with adapter/ and merged/; ``facts`` replace entries of its manifest."""
    request = make_request(preset=preset)
    model = request.model
    known: dict[str, Any] = {
        "ql_version": "0.0.1",
        "plan": make_plan(request).to_dict(),
        "model_facts": {"title": model.title, "license": model.license, "parameters": model.parameters},
        "data": {
            "path": "/home/someone/secret-project/train.jsonl",
            "input_sha256": "a" * 64,
            "sha256": {"data/train.jsonl": "b" * 64},
            "format": "messages",
            "train_rows": 918,
            "eval_rows": 102,
            "left_out": 0,
            "excess": None,
        },
        "golden": {"path": "/home/someone/golden.jsonl", "sha256": "c" * 64, "rows": 120, "gates": []},
        "golden_scores": SCORES,
        "gates": [{"gate": "exact_match>=0.8", "passed": True, "reason": "merged exact_match 0.95 meets >= 0.8"}],
        "training": {"steps": 60, "tokens": 123456, "best_eval_loss": 0.25, "skipped_steps": 0},
        "merge": {
            "base": "dequantized", "dtype": "float16", "kl": 1.7e-8, "top1_agreement": 1.0, "delta_error": 0.0009,
            "tokens": 512,
        },
        "environment": {"versions": {"axolotl": "0.19.0"}},
        "trainer_python": "python",
        "notes": [],
    }  # fmt: skip
    run = create_run(parent, preset, new_manifest(**(known | facts)))
    run.record.state = "finished"
    for subject, weights in (("adapter", "adapter_model.safetensors"), ("merged", "model-00001-of-00001.safetensors")):
        (run.path / subject).mkdir()
        (run.path / subject / weights).write_bytes(subject.encode() * 2000)
        (run.path / subject / "config.json").write_text("{}\n")
    run.save()
    return run


ON_CPU = {
    "preset": "cpu-tiny", "backend": "axolotl", "method": "qlora", "base_model": "x", "compute_dtype": "float32",
    "on_cpu": True, "gpu": "cpu",
}  # fmt: skip


def waiting_run(folder: Path) -> Run:
    """A run in ``folder``/runs on the CPU that nothing has worked on, with its data beside."""
    (folder / "rows.jsonl").write_text("{}\n")
    data = {"path": str(folder / "rows.jsonl"), "sha256": "0"}
    made = create_run(folder / "runs", "x", new_manifest(plan=ON_CPU, notes=[], gates=[], golden=None, data=data))
    made.record.inputs = fingerprint(made)
    made.save()
    return made


def finish(run: Run) -> None:
    for stage in run.record.stages:
        stage.state = "done"
    run.record.state = "finished"
    run.save()
