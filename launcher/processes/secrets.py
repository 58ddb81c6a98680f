"""Tokens and passwords: kept from processes that do not need them, and out of everything that is written."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import RawIOBase
from pathlib import Path
from typing import Any

# HF_TOKEN, WANDB_API_KEY, AWS_SECRET_ACCESS_KEY, …; not TOKENIZERS_PARALLELISM.
_NAME = re.compile(r"(^|_)(TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?|API_?KEY|ACCESS_KEY)(_|$)", re.IGNORECASE)
_KNOWN = re.compile(r"\bhf_[A-Za-z0-9]{20,}")  # a Hugging Face token, wherever it came from
_IN_URL = re.compile(r"(\w://[^/\s:@]*:)[^/\s@]+(?=@)")  # the password of scheme://user:password@host
SHORTEST = 6  # characters; a shorter value would black out ordinary words
LONG = 16  # characters; a shorter value may be a word of a path: it is a secret only where it stands alone
MAX_HELD = 1 << 16  # bytes of a line without an end


def is_secret(name: str) -> bool:
    """Whether an environment variable of this name holds something that nobody should read."""
    return _NAME.search(name) is not None


def without_secrets(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables whose names do not say that they hold a secret."""
    return {name: value for name, value in environment.items() if not is_secret(name)}


def redact(text: str, environment: Mapping[str, str] | None = None) -> str:
    """``text`` with the values of secret variables, and what looks like a token, replaced by their names."""
    found = os.environ if environment is None else environment
    for name, value in found.items():
        if len(value) >= SHORTEST and is_secret(name) and value in text:
            if len(value) >= LONG:
                text = text.replace(value, f"[{name}]")
            else:
                text = re.sub(rf"(?<![\w/.-]){re.escape(value)}(?![\w/.-])", f"[{name}]", text)
    return _IN_URL.sub(r"\1[password]", _KNOWN.sub("[token]", text))


def redact_all(data: Any) -> Any:
    """JSON data with each of its texts redacted: its numbers and keys stay, and so it stays JSON of its shape."""
    if isinstance(data, str):
        return redact(data)
    if isinstance(data, Mapping):
        return {key: redact_all(value) for key, value in data.items()}
    return [redact_all(value) for value in data] if isinstance(data, list | tuple) else data


@contextmanager
def redacted_log(path: Path) -> Iterator[int]:
    """A descriptor for a child's output, which is appended to ``path`` line by line, redacted.

    When the block ends, what the child has written is in the file: end the child before. Lines end with a line feed or,
    as progress bars do, a carriage return. Raises OSError when the file cannot be written.
    """
    log = path.open("ab", buffering=0)
    reading, writing = os.pipe()
    try:
        pump = threading.Thread(target=_pump, args=(reading, log), name="ql-log", daemon=True)
        pump.start()
    except BaseException:
        log.close()
        os.close(reading)
        os.close(writing)
        raise
    try:
        yield writing
    finally:
        os.close(writing)
        pump.join(timeout=10)  # something that left the process group may hold the pipe: it is not waited for


def _pump(reading: int, log: RawIOBase) -> None:
    held = b""
    with os.fdopen(reading, "rb", buffering=0) as stream, log:
        while piece := stream.read(MAX_HELD):
            held += piece
            end = max(held.rfind(b"\n"), held.rfind(b"\r")) + 1
            if not end and len(held) > MAX_HELD:
                end = len(held)
            _write(log, held[:end])
            held = held[end:]
        _write(log, held)


def _write(log: RawIOBase, data: bytes) -> None:
    if not data:
        return
    text = redact(data.decode("utf-8", errors="surrogateescape"))
    try:
        log.write(text.encode("utf-8", errors="surrogateescape"))
    except OSError:
        return  # a full disk must not stop the child by a full pipe
