"""The pipe to a job: one of ql's torch jobs, run under another python, speaks JSON (`launcher.jobs.worker`)."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

from launcher.errors import BadInput, Problem, QlError, RunFailed, Unreadable
from launcher.processes.child import child, child_environment, tail
from launcher.processes.secrets import redacted_log
from launcher.records.codec import decode, encode
from launcher.records.events import Message
from launcher.records.jobs import Answered, Asked, Job
from launcher.resources import PACKAGE

Progress = Callable[[Message], None]
_ERRORS: dict[int, type[QlError]] = {1: BadInput, 2: Unreadable, 3: RunFailed}


def ask(
    python: str,
    job: Job[Asked, Answered],
    request: Asked,
    log_path: Path,
    on_progress: Progress | None = None,
    *,
    environment: Mapping[str, str],
    install: str,
) -> Answered:
    """Run ``job`` with ``request`` and return its answer.

    What its libraries print goes to ``log_path``. Raises the error that the job reports, and RunFailed when the
    process cannot be started or dies without one. Only a job that is ``online`` may reach for the hub. ``environment``
    is added to the job's; ``install`` is said where its python lacks a library.
    """
    offline = {} if job.online else {"HF_HUB_OFFLINE": "1"}
    with (
        tempfile.NamedTemporaryFile("w", suffix=".json", encoding="utf-8") as handed,
        redacted_log(log_path) as log,
    ):
        json.dump(encode(request), handed)
        handed.flush()
        argv = [python, str(PACKAGE / "jobs" / "worker.py"), job.name, handed.name]
        whole = child_environment({**environment, **offline}, with_secrets=job.online)
        with child(argv, environment=whole, stdout=subprocess.PIPE, stderr=log) as process:
            assert process.stdout is not None
            for line in process.stdout:
                message: Message = json.loads(line)
                match message["event"]:
                    case "result":
                        return decode(job.answer, message["result"])
                    case "error":
                        raise _error(message, python, log_path, install)
                    case _ if on_progress is not None:
                        on_progress(message)
            code = process.wait()
    last = tail(log_path, 3)
    raise RunFailed(
        Problem(
            f"the {job.name} job ended with exit code {code}" + (f": {last[-1]}" if last else ""), hint=_where(log_path)
        )
    )


def _error(message: Message, python: str, log_path: Path, install: str) -> QlError:
    problems = [Problem(**problem) for problem in message["problems"]]
    code = message["exit_code"]
    if message.get("kind") == "missing_library":
        problems = [Problem(f"{python} lacks a library of the trainers: {problems[0].message}", hint=install)]
    elif code == 3 and problems and problems[-1].hint is None:
        last = problems[-1]
        problems[-1] = Problem(last.message, last.file, last.line, last.column, _where(log_path))
    return _ERRORS.get(code, RunFailed)(problems)


def _where(log_path: Path) -> str:
    return f"its output is in {log_path}"
