"""Record a command's terminal as an asciinema cast (v2): what it wrote, and when, in the time that it took.

    python scripts/record_live.py --out docs/recordings/live.cast -- ql launch --preset cpu-tiny …

Of pictures that are drawn over each other faster than ``--pictures`` a second the later one is kept: the view draws
four, and a recording of a minute would be a megabyte. Silences are shortened to a second and a half. Play it with
`asciinema play docs/recordings/live.cast`.
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import re
import select
import struct
import sys
import termios
import time
from pathlib import Path

LONGEST_SILENCE = 1.5  # seconds between two writes in the recording
# Paths of this machine, and what is shown instead.
PLACES = {str(Path.cwd()): "/home/ada", str(Path(__file__).resolve().parent.parent): "/home/ada/ql"}

# What rich writes before it draws again: the lines of the last picture go.
REDRAW = re.compile(r"\r\x1b\[2K(?:\x1b\[1A\x1b\[2K)*")
Writes = list[tuple[float, str]]


def record(argv: list[str], columns: int, rows: int) -> tuple[int, Writes]:
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


def thinned(writes: Writes, seconds: float) -> Writes:
    """At most one picture in ``seconds``. One may go that the next draws over, erasing as many lines as it did."""
    pictures: Writes = []
    for at, text in writes:  # a picture may have come in several pieces
        if pictures and not REDRAW.match(text):
            pictures[-1] = (pictures[-1][0], pictures[-1][1] + text)
        else:
            pictures.append((at, text))
    kept: Writes = []
    for index, (at, text) in enumerate(pictures):
        following = pictures[index + 1][1] if index + 1 < len(pictures) else ""
        first, then = REDRAW.match(text), REDRAW.match(following)
        alike = first and then and first[0] == then[0] and text.count("\n") == then[0].count("\x1b[1A")
        if not alike or not kept or at - kept[-1][0] >= seconds:
            kept.append((at, text))
    return kept


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--columns", type=int, default=110)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--pictures", type=float, default=2.0, help="a second, at most")
    parser.add_argument("--title", default="ql launch")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("argv", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    argv = options.argv[1:] if options.argv[:1] == ["--"] else options.argv
    code, writes = record(argv, options.columns, options.rows)
    header = {"version": 2, "width": options.columns, "height": options.rows, "title": options.title}
    with options.out.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(header) + "\n")
        for at, text in thinned(writes, 1 / options.pictures):
            for place, shown in PLACES.items():
                text = text.replace(place, shown)
            stream.write(json.dumps([at, "o", text], ensure_ascii=False) + "\n")
    sys.exit(code)


if __name__ == "__main__":
    main()
