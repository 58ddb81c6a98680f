"""Record a command's terminal as an asciinema cast (v2): what it wrote, and when; long silences are shortened.

    python scripts/record_live.py --out docs/recordings/live.cast -- ql launch --preset cpu-tiny …

Play it with `asciinema play docs/recordings/live.cast`.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import select
import struct
import sys
import termios
import time
from pathlib import Path

LONGEST_SILENCE = 1.5  # seconds between two writes in the recording
PLACES = {
    str(Path(__file__).resolve().parent.parent): "/home/ada/ql"
}  # paths of this machine, and what is shown instead


def record(argv: list[str], columns: int, rows: int) -> tuple[int, list[tuple[float, str]]]:
    """Run ``argv`` on a terminal of its own; its exit code, and ``(seconds, text)`` of everything that it wrote."""
    child, terminal = pty.fork()
    if child == 0:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(columns), "LINES": str(rows)}
        for name in ("CI", "NO_COLOR", "GITHUB_ACTIONS"):
            environment.pop(name, None)
        os.execvpe(argv[0], argv, environment)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    decode = codecs.getincrementaldecoder("utf-8")("replace").decode
    writes, began, cut = [], time.monotonic(), 0.0
    last = began
    while True:
        ready, _, _ = select.select([terminal], [], [], 1.0)
        if not ready:
            continue
        try:
            data = os.read(terminal, 65536)
        except OSError:  # the terminal is gone with its last process
            break
        if not data:
            break
        now = time.monotonic()
        cut += max(0.0, now - last - LONGEST_SILENCE)
        last = now
        writes.append((round(now - began - cut, 3), decode(data)))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status), writes


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--columns", type=int, default=110)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--title", default="ql launch")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("argv", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    code, writes = record(argv, options.columns, options.rows)
    header = {"version": 2, "width": options.columns, "height": options.rows, "title": options.title}
    with options.out.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(header) + "\n")
        for at, text in writes:
            for place, shown in PLACES.items():
                text = text.replace(place, shown)
            stream.write(json.dumps([at, "o", text], ensure_ascii=False) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
