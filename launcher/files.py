"""Files that are complete or absent, whatever happens while they are written."""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

from launcher.errors import Problem, Unreadable


def expand(path: str | Path) -> Path:
    """``path`` with its ``~`` replaced by the home folder; as it is where there is none.

    `Path.expanduser` raises there: in a container, for a user whom the image does not know.
    """
    return Path(os.path.expanduser(path))  # noqa: PTH111


def program(name: str, folder: Path | None = None) -> str:
    """A program as the command line names it, by its whole path: it may be started in another folder, or later.

    A name without a slash stays: PATH is searched for it. Links stay too: a virtual environment's python is one.
    ``folder`` is where a relative path begins, the working directory when None.
    """
    return str((folder or Path.cwd()) / expand(name)) if "/" in name else name


def plain_name(name: str) -> str:
    """A file's name without what a shell, a pattern or a variable is made of."""
    return re.sub(r"[^\w.+-]+", "-", name).strip("-") or "x"


def require_text(path: str | Path) -> None:
    """Raises Unreadable for a name whose bytes are not UTF-8: it cannot be written into a manifest or a config."""
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        shown = str(path).encode("utf-8", "backslashreplace").decode()
        raise Unreadable(f"{shown}: the name is not UTF-8", hint="rename it, or reach it by a link") from None


def sync_folder(folder: Path) -> None:
    """Make a rename in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """A text file that takes the place of ``path`` when the block ends, and leaves nothing when it fails."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` (UTF-8): write beside it, fsync, rename, fsync the folder.

    A reader, or a run that was killed, sees the old text or the new one. Raises OSError, which names ``path``; the
    temporary file is gone.
    """
    try:
        _replace(path, text)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    sync_folder(path.parent)


def _replace(path: Path, text: str) -> None:
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        share(Path(temporary))  # mkstemp makes it private
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def share(path: Path) -> None:
    """Let a file that was made for its owner alone be read by whoever reads other new files: runs are shared."""
    umask = os.umask(0)
    os.umask(umask)
    path.chmod(0o666 & ~umask)


def replace_text(path: Path, text: str) -> None:
    """Replace ``path`` by ``text`` for readers, without waiting for the disk: what it says is only of the moment."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def clear_temporary(folder: Path) -> None:
    """Remove what `write_atomic` left in ``folder`` when its process was killed. Nobody else may be writing there."""
    for path in folder.glob(".*.????????"):
        if path.is_file() and not path.is_symlink():
            path.unlink(missing_ok=True)


def write_json(path: Path, data: Any) -> None:
    """``data`` as indented JSON, atomically. Non-finite numbers are refused (ValueError): they are not JSON."""
    write_atomic(path, json.dumps(data, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def json_lines(text: str) -> list[str]:
    """The lines of JSON text, blank ones left out.

    Only a line feed ends one: a string may hold U+2028 and its like as they are, at which `str.splitlines` splits.
    """
    return [line for line in text.split("\n") if line.strip()]


def read_json_lines(path: Path) -> list[Any]:
    """The values of a file with one JSON value a line. Raises OSError, and ValueError where a line is none."""
    return [json.loads(line) for line in json_lines(path.read_text(encoding="utf-8"))]


READABLE = 64 * 2**20  # bytes; no manifest, config or index comes near


def read_bounded_bytes(path: Path, limit: int = READABLE) -> bytes:
    """A file that is read whole. Raises OSError, and Unreadable for one of more than ``limit`` bytes."""
    with path.open("rb") as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise Unreadable(Problem(f"is larger than {limit / 2**20:.0f} MiB: no file of its kind is", file=str(path)))
    return data


def read_bounded(path: Path, limit: int = READABLE) -> str:
    """The text of a file that is read whole. Raises OSError, and Unreadable for one that is too large or no UTF-8."""
    try:
        return read_bounded_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise Unreadable(Problem(f"is not UTF-8: byte {error.start + 1}", file=str(path))) from None


def sha256_file(path: Path) -> str:
    """Hex digest of a file's bytes, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
