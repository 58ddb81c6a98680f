"""Run one of ql's torch jobs under a trainer's python."""

from __future__ import annotations

from pathlib import Path

from launcher.processes.pipe import Progress, ask
from launcher.records.jobs import Answered, Asked, Job
from launcher.trainers import default_trainer, quiet_environment


def call_worker(
    python: str, job: Job[Asked, Answered], request: Asked, log_path: Path, on_progress: Progress | None = None
) -> Answered:
    """`launcher.processes.pipe.ask`, with every trainer kept from calling home."""
    return ask(python, job, request, log_path, on_progress, environment=quiet_environment(), install=_install())


def _install() -> str:
    return (
        "name the python of the environment that has the trainers with --trainer-python, or pip install "
        f"'.[{default_trainer().name}]' in a checkout of ql"
    )
