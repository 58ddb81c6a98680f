"""Open a data file: unpacked where it is compressed, refused with a word where it is of a kind that is not read."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from launcher.errors import Unreadable
from launcher.files import sha256_file

Kind = Literal["text", "parquet", "arrow"]

BOM = b"\xef\xbb\xbf"
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
_PACKED_SUFFIXES = (".gz", ".gzip", ".zst", ".zstd")
_COLUMNAR: dict[bytes, Kind] = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow"}
_FOREIGN = {
    b"PK\x03\x04": ("is a zip archive", "unpack it first; a workbook of Excel is one too: save its sheet as CSV UTF-8"),
    b"BZh": ("is compressed (bzip2)", "unpack it first: bunzip2 FILE"),
    b"\xfd7zXZ": ("is compressed (xz)", "unpack it first: unxz FILE"),
    b"\xff\xfe": ("is UTF-16 text", "write it as UTF-8"),
    b"\xfe\xff": ("is UTF-16 text", "write it as UTF-8"),
    b"SQLite format 3": ("is a SQLite database", "write its rows as JSON lines: sqlite3 FILE -json 'select …'"),
    b"\x80\x04\x95": ("is a pickle", "write it as JSON lines first, one object a line"),
    b"version https://git-lfs": ("is a pointer of Git LFS, not the file itself", "fetch it: git lfs pull"),
    b"%PDF": ("is a PDF file", "write its text as JSON lines first, one object a line"),
}
_PAGES = (b"<!doctype html", b"<html", b"<?xml")


def library(name: str, path: Path, what: str) -> Any:
    """A module that reads a kind of file. Raises Unreadable with the extra that installs it."""
    try:
        return importlib.import_module(name)
    except ImportError:
        package = name.partition(".")[0]
        hint = "pip install 'ql[data]'; or write it as JSON lines, one object a line"
        raise Unreadable(f"{path}: {what}, and {package}, which reads it, is not installed", hint=hint) from None


@dataclass
class Opened:
    """A data file that is open: its unpacked bytes, its name without the suffix of a compression, and its kind."""

    stream: BinaryIO
    name: str
    kind: Kind


@contextmanager
def open_data(path: Path) -> Iterator[Opened]:
    """The file, open for reading. Raises Unreadable when it cannot be read, now or later, or is of no kind that is."""
    raw = stream = _open(path)
    try:
        head = stream.read(16)
        stream.seek(0)
        name, packed = path.name, head.startswith((GZIP, ZSTD))
        if packed:
            name = path.stem if path.suffix.lower() in _PACKED_SUFFIXES else path.name
            stream = _unpacked(stream, head, path)
        what = ("gzip" if head.startswith(GZIP) else "zstd") if packed else ""
        with _unpacking(path, what) if packed else nullcontext():
            head = stream.read(64)
            stream.seek(0)
        kind = _kind(head, path, packed)
        with _unpacking(path, what) if packed else nullcontext():
            yield Opened(stream, name, kind)
    finally:
        stream.close()
        raw.close()


def _open(path: Path) -> BinaryIO:
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            raise Unreadable(f"{path}: is a folder, not a data file")
        if not stat.S_ISREG(mode):
            raise Unreadable(f"{path}: is not a regular file", hint="the data is read twice: write it to a file first")
        return path.open("rb")
    except FileNotFoundError as error:
        raise Unreadable(f"{path}: no such data file") from error
    except (OSError, ValueError) as error:
        raise Unreadable(f"{path}: cannot be read: {error}") from error


def _unpacked(stream: BinaryIO, head: bytes, path: Path) -> BinaryIO:
    if head.startswith(GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=stream, mode="rb"))
    reader = library("zstandard", path, "is compressed (zstd)").ZstdDecompressor().stream_reader
    # The reader does not seek, and what is read again is its beginning only: it is opened anew for that.
    return cast(BinaryIO, io.BufferedReader(_Rewindable(reader, stream), 1 << 16))


class _Rewindable(io.RawIOBase):
    """An unpacking reader that can be set back to its beginning, which is all that is asked of it."""

    def __init__(self, reader: Any, packed: BinaryIO) -> None:
        self._make, self._packed = reader, packed
        self._reader = reader(packed, read_across_frames=True, closefd=False)
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        self._packed.seek(0)
        self._reader = self._make(self._packed, read_across_frames=True, closefd=False)
        self._at = 0
        while self._at < offset and self._reader.read(1):
            self._at += 1
        return self._at

    def readinto(self, buffer: Any) -> int:
        data = self._reader.read(len(buffer))
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def close(self) -> None:
        self._packed.close()
        super().close()


@contextmanager
def _unpacking(path: Path, what: str) -> Iterator[None]:
    """What compressed bytes raise where they are broken or end too soon, as one error."""
    try:
        yield
    except Unreadable:
        raise
    except Exception as error:
        broken = isinstance(error, EOFError | OSError) or type(error).__name__ in ("error", "ZstdError")
        if not broken or isinstance(error, BrokenPipeError):
            raise
        raise Unreadable(
            f"{path}: cannot be unpacked ({what}): {error}", hint="it is not whole: fetch or pack it again"
        ) from None


def _kind(head: bytes, path: Path, packed: bool) -> Kind:
    for magic, (what, hint) in _FOREIGN.items():
        if head.startswith(magic):
            raise Unreadable(f"{path}: {what}", hint=hint)
    if head.lstrip().lower().startswith(_PAGES):
        raise Unreadable(f"{path}: is a web page or XML, not data", hint="download the file itself")
    for magic, kind in _COLUMNAR.items():
        if head.startswith(magic):
            if packed:
                what = kind.capitalize()
                raise Unreadable(
                    f"{path}: is a compressed {what} file", hint=f"unpack it first: {what} packs by itself"
                )
            return kind
    return "text"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a data file; of a folder, that of its files' names and digests."""
    if not path.is_dir():
        return sha256_file(path)
    total = hashlib.sha256()
    for file in sorted(item for item in path.rglob("*") if item.is_file()):
        total.update(f"{file.relative_to(path).as_posix()}\0{sha256_file(file)}\n".encode("utf-8", "surrogateescape"))
    return total.hexdigest()
