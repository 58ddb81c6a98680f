"""The facts of a run that a person or a script asks for first."""

from __future__ import annotations

from typing import Any

from launcher.runs.lock import is_locked
from launcher.runs.run import Run


def state_of(run: Run) -> str:
    """The manifest's state; ``interrupted`` where it says running and no process holds the run any more."""
    state: str = run.data["state"]
    return "interrupted" if state == "running" and not is_locked(run.path) else state


def summarise(run: Run) -> dict[str, Any]:
    """What `ql runs RUN --json` prints: state, path, stages, golden scores, gates, merge. Times are seconds."""
    data = run.data
    merge = data.get("merge")
    return {
        "name": run.path.name,
        "state": state_of(run),
        "path": str(run.path),
        "created": data.get("created"),
        "preset": run.plan["preset"],
        "backend": run.plan["backend"],
        "method": run.plan["method"],
        "base_model": run.plan["base_model"],
        "seconds": round(sum(stage["seconds"] or 0 for stage in data["stages"]), 3),
        "stages": data["stages"],
        "best_eval_loss": data.get("training", {}).get("best_eval_loss"),
        "training": data.get("training", {}),
        "golden": data.get("golden_scores", {}),
        "gates": data.get("gates", []),
        "merge": merge and {key: merge.get(key) for key in ("base", "dtype", "kl", "top1_agreement", "delta_error")},
        "repairs": data.get("repairs", []),
        "resumes": data.get("resumes", []),
        "notes": data.get("notes", []),
    }
