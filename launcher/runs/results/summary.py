"""The facts of a run that a person or a script asks for first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from launcher.catalog import load_gpu
from launcher.errors import QlError
from launcher.report.series import Series, read_series, sample
from launcher.runs.events import read_events
from launcher.runs.lock import is_locked
from launcher.runs.run import Run, as_written

CURVE = 40  # points of a run's loss curves in its manifest: what a list can show


def state_of(run: Run) -> str:
    """The manifest's state; ``interrupted`` where it says running and no process holds the run any more."""
    state: str = run.data["state"]
    return "interrupted" if state == "running" and not is_locked(run.path) else state


def summarise(run: Run) -> dict[str, Any]:
    """What `ql runs RUN --json` prints: state, path, stages, golden scores, gates, merge, cost. Times are seconds."""
    with as_written(run):
        return _summary(run)


def _summary(run: Run) -> dict[str, Any]:
    data = run.data
    merge, training = data.get("merge"), data.get("training", {})
    seconds = sum(stage["seconds"] or 0 for stage in data["stages"])
    price = price_of(data)
    return {
        "name": run.path.name,
        "state": state_of(run),
        "path": str(run.path),
        "created": data.get("created"),
        "preset": run.plan["preset"],
        "gpu": run.plan.get("gpu"),
        "model": run.plan.get("model"),
        "backend": run.plan["backend"],
        "method": run.plan["method"],
        "base_model": run.plan["base_model"],
        "seconds": round(seconds, 3),
        "usd": None if price is None else round(seconds / 3600 * price["usd_per_hour"], 6),
        "price": price,
        "stages": data["stages"],
        "best_eval_loss": training.get("best_eval_loss"),
        "training": training,
        "curve": loss_curve(run),
        "golden": data.get("golden_scores", {}),
        "gates": data.get("gates", []),
        "merge": merge and {key: merge.get(key) for key in ("base", "dtype", "kl", "top1_agreement", "delta_error")},
        "repairs": data.get("repairs", []),
        "resumes": data.get("resumes", []),
        "notes": data.get("notes", []),
    }


def price_of(manifest: Mapping[str, Any]) -> dict[str, Any] | None:
    """What an hour of the run's card cost: as the run recorded it, else the catalog's first price; None without one."""
    estimate = manifest.get("estimate") or {}
    if "price" in estimate:
        recorded: dict[str, Any] | None = estimate["price"]
        return recorded
    try:
        first = next(iter(load_gpu(manifest["plan"]["gpu"]).prices), None)
    except (KeyError, QlError):
        return None
    return None if first is None else {"usd_per_hour": first.usd_per_hour, "source": first.source, "date": first.date}


def loss_curve(run: Run) -> dict[str, list[float]]:
    """Training and evaluation losses in at most CURVE points: from the manifest where the run has ended."""
    recorded: dict[str, list[float]] | None = run.data.get("curve")
    return recorded if recorded is not None else curve_of(read_series(read_events(run.path)))


def curve_of(series: Series) -> dict[str, list[float]]:
    """The losses of a run's telemetry, in at most CURVE points each."""
    return {
        "loss": [round(value, 6) for value in sample(series.kept("loss"), CURVE)],
        "eval_loss": [round(value, 6) for value in sample(series.kept_evals(), CURVE)],
    }
