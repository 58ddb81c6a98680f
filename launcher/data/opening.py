"""Open a data file: unpacked where it is compressed, refused with a word where it is of a kind that is not read."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import io
import stat
from collections.abc import Callable, Iterator
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
        hint = f"pip install {package}, of ql's extra data; or write it as JSON lines, one object a line"
        raise Unreadable(f"{path}: {what}, and {package}, which reads it, is not installed", hint=hint) from None


@dataclass
class OpenedData:
    """A data file that is open: its unpacked bytes, its name without the suffix of a compression, and its kind."""

    stream: BinaryIO
    name: str
    kind: Kind


@contextmanager
def open_data(path: Path) -> Iterator[OpenedData]:
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
            yield OpenedData(stream, name, kind)
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
    module = library("zstandard", path, "is compressed (zstd)")
    return cast(BinaryIO, io.BufferedReader(_Zstd(module, stream), 1 << 16))


class _Zstd(io.RawIOBase):
    """The unpacked bytes of a file of zstd frames. Reading raises EOFError where the last one is not whole."""

    def __init__(self, module: Any, packed: BinaryIO) -> None:
        self._frame: Callable[[], Any] = module.ZstdDecompressor().decompressobj
        self._packed = packed
        self._begin()

    def _begin(self) -> None:
        self._packed.seek(0)
        self._decoder = self._frame()
        self._ready, self._at, self._inside = b"", 0, False

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = 0) -> int:
        """To a place near the beginning, which is all that is asked of it: what is before it is unpacked again."""
        self._begin()
        while self._at < offset and self.readinto(bytearray(offset - self._at)):
            pass
        return self._at

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            data = self._packed.read(1 << 16)
            if not data:
                if self._inside:
                    raise EOFError("the file ends before its last frame does")
                return 0
            self._ready = self._unpack(data)
        count = min(len(buffer), len(self._ready))
        buffer[:count], self._ready = self._ready[:count], self._ready[count:]
        self._at += count
        return count

    def _unpack(self, data: bytes) -> bytes:
        out = []
        while data:
            if self._decoder.eof:
                self._decoder = self._frame()
            out.append(self._decoder.decompress(data))
            self._inside = not self._decoder.eof
            data = self._decoder.unused_data if self._decoder.eof else b""
        return b"".join(out)


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
