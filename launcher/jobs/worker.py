"""Run one of ql's torch jobs under the trainer's python: ``python -P .../launcher/jobs/worker.py JOB REQUEST.json``.

The trainer's environment need not have ql installed, and the environment that has ql must not shadow the
trainer's pins, so nothing is put on ``sys.path``: this file makes the package ``launcher`` importable from its own
folder and nothing else. Jobs may use the trainer's libraries and those modules of ql that need only them.

A job is a function ``run(request, emit)``: what it is asked and answers is in `launcher.records.jobs`. Each message is
one line of JSON on stdout: ``{"event": "progress", ...}`` as often as the job likes, then ``{"event": "result",
"result": {...}}`` or ``{"event": "error", "kind": ..., "problems": [...], "exit_code": n}``. The kind is ``told`` for
what the job says itself, ``missing_library``, or ``crash``. Anything that a library prints goes to stderr.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.records.events import Message


def adopt_package() -> None:
    """Make ``import launcher`` work from this file's package without touching ``sys.path``."""
    if "launcher" in sys.modules:
        return
    folder = Path(__file__).resolve().parent.parent
    spec = importlib.util.spec_from_file_location(
        "launcher", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["launcher"] = module
    spec.loader.exec_module(module)


def main(argv: list[str]) -> int:
    adopt_package()
    from launcher.errors import QlError
    from launcher.records.jobs import JOBS

    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints to stdout must not mix with our messages

    def emit(message: Message) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    job, request_path = argv
    request = json.loads(Path(request_path).read_text(encoding="utf-8"))
    try:
        result = JOBS[job].do(request, emit)
    except QlError as error:
        problems = [problem.to_dict() for problem in error.problems]
        emit({"event": "error", "kind": "told", "problems": problems, "exit_code": error.exit_code})
        return error.exit_code
    except Exception as error:  # the launcher shows the summary; the traceback is in the stage's log
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        kind = "missing_library" if isinstance(error, ModuleNotFoundError) else "crash"
        emit({"event": "error", "kind": kind, "problems": [{"message": message}], "exit_code": 3})
        return 3
    emit({"event": "result", "result": result})
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
