"""Child processes that never outlive us: own process group, killed with it, and by the kernel if we die first."""

from __future__ import annotations

import ctypes
import os
import re
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from launcher.errors import RunFailed
from launcher.files import expand
from launcher.processes import keeper
from launcher.processes.secrets import without_secrets

PR_SET_PDEATHSIG = 1  # prctl(2)
# Environment variables by which what a child of ours started is known: of all children, and of one.
KEEPER, CHILD = "QL_KEEPER", "QL_CHILD"


# Meant for other programs than ours. The trainers' libraries are not free of warnings, read docstrings, and must end
# when they end; and whoever started this machine's job for several processes did not mean the one that is started here.
NOT_PASSED_ON = re.compile(
    r"PYTHON(WARNINGS|OPTIMIZE|INSPECT)|(LOCAL_|NODE_)?(RANK|WORLD_SIZE)|GROUP_RANK|MASTER_(ADDR|PORT)"
    r"|(ACCELERATE|TORCHELASTIC|OMPI_COMM_WORLD|PMI|MV2_COMM_WORLD)_\w+"
)

# Folders that a person may name from where they stand, and that the trainer would look for in the run's folder.
FOLDERS = ("HF_HOME", "HF_HUB_CACHE", "HF_DATASETS_CACHE", "XDG_CACHE_HOME", "TMPDIR")


def child_environment(extra: Mapping[str, str] | None = None, *, with_secrets: bool = False) -> dict[str, str]:
    """Our environment for a python of the trainer: nothing imported from the working directory, nothing sent home.

    Tokens and passwords stay here unless they are asked for. Of several cards only the first is seen: with more,
    the trainers wrap the model in DataParallel, which multiplies the batch that was planned and fails on 4-bit weights.
    """
    ours = os.environ if with_secrets else without_secrets(os.environ)
    return {
        **{name: value for name, value in ours.items() if not NOT_PASSED_ON.fullmatch(name)},
        **{name: str(Path.cwd() / expand(ours[name])) for name in FOLDERS if _is_path(ours.get(name))},
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "DO_NOT_TRACK": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").partition(",")[0],
        # OpenMP's threads spin while they wait: beside any other load, small products then take ten times as long.
        "OMP_WAIT_POLICY": os.environ.get("OMP_WAIT_POLICY", "PASSIVE"),
        **(extra or {}),
    }


def _is_path(value: str | None) -> bool:
    """Whether a variable names a folder as it stands: the libraries replace variables in it themselves."""
    return bool(value) and "$" not in str(value)


# Loaded before any fork: between fork and exec nothing should be imported.
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


def _ours_alone(parent: int) -> Callable[[], None]:
    """What a child does between fork and exec: it ends with us, and only by us.

    Slurm, and systemd by default, send SIGTERM to every process of a job, and a trainer that dies of it saves nothing.
    So our children ignore it, as does what they start; we handle it, and ask the trainer for a checkpoint.
    """

    def prepare() -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if _LIBC is not None:
            _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != parent:  # it was gone before we asked
                os._exit(1)

    return prepare


_keeper_of: tuple[int, str, int] | None = None  # our process id, the mark, and our end of the keeper's pipe


def kept() -> str:
    """The mark of this process's children, once a keeper is there that ends them when we are gone."""
    global _keeper_of
    if _keeper_of is None or _keeper_of[0] != os.getpid():
        mark = secrets.token_hex(8)
        reading, writing = os.pipe()
        if sys.platform == "linux":
            process = subprocess.Popen(
                [sys.executable, "-I", "-S", keeper.__file__, f"{KEEPER}={mark}"],
                env=without_secrets(os.environ),
                cwd="/",
                stdin=reading,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            process.returncode = 0  # it ends after us: nobody is to wait for it, or warn that nobody did
        os.close(reading)
        _keeper_of = os.getpid(), mark, writing
    return _keeper_of[1]


@contextmanager
def child(
    argv: Sequence[str],
    *,
    environment: Mapping[str, str],
    cwd: Path | None = None,
    stdout: int | IO[Any],
    stderr: int | IO[Any],
) -> Iterator[subprocess.Popen[str]]:
    """Start ``argv`` in a process group of its own; whatever it has started is stopped when the block ends.

    Raises RunFailed when it cannot be started.
    """
    mark = secrets.token_hex(8)
    try:
        process = subprocess.Popen(
            argv,
            env={**environment, KEEPER: kept(), CHILD: mark},
            cwd=cwd,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=_ours_alone(os.getpid()),
        )
    except OSError as error:
        hint = "--trainer-python names the python of the environment that has the trainer"
        raise RunFailed(f"cannot run {argv[0]}: {error.strerror or error}", hint=hint) from None
    try:
        yield process
    finally:
        stop_group(process)
        if sys.platform == "linux":
            keeper.end_marked(f"{CHILD}={mark}")
        if process.stdout is not None:
            process.stdout.close()


def stop_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the whole group, the leader's end waited for: what it had to save was asked for before."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def tail(path: Path, lines: int = 12) -> list[str]:
    """The last lines of a log, without progress bars and empty lines."""
    if not path.is_file():
        return []
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 65536))
        text = stream.read().decode("utf-8", errors="replace")
    kept = [line.rpartition("\r")[2].rstrip() for line in text.split("\n")]
    return [line for line in kept if line][-lines:]
