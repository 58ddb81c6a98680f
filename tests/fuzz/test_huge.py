"""A huge line, in a file that takes no room: every reader of a person's files says so within a bounded memory.

What is read line by line may take a quarter of the memory of what is read whole, up to 256 MiB.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

# Bytes of address space beyond what the imports take; the file is larger.
BY_LINE, WHOLE = 225 * 2**20, 900 * 2**20
LAUNCH = ["launch", "--preset", "cpu-tiny", "--data", "ROWS"]

RUN = """
import resource, sys
from click.testing import CliRunner
from launcher.cli.main import main
import launcher.configs.validate, launcher.data.inspect, launcher.golden.rows, launcher.runs.results.summary
import launcher.preparing.prepare
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + int(sys.argv[1]), resource.RLIM_INFINITY))
result = CliRunner().invoke(main, sys.argv[2:])
if result.exception is not None and not isinstance(result.exception, SystemExit):
    raise result.exception
print(result.output)
sys.exit(result.exit_code)
"""


def sparse(path: Path, head: bytes, size: int) -> None:
    path.write_bytes(head)
    os.truncate(path, size)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space as Linux does")
@pytest.mark.parametrize(
    ("argv", "name", "head", "code", "memory"),
    [
        (["check", "FILE"], "rows.jsonl", b'{"text": "', 1, BY_LINE),
        (["check", "FILE"], "rows.json", b'[{"text": "', 2, WHOLE),
        (
            ["launch", "--preset", "cpu-tiny", "--data", "ROWS", "--golden", "FILE"],
            "golden.jsonl",
            b'{"input": "',
            1,
            BY_LINE,
        ),
        (["validate", "FILE"], "config.yaml", b"base_model: x\nadapter: '", 2, BY_LINE),
        (["runs", "RUN"], "run.json", b'{"version": 1, "name": "', 2, WHOLE),
    ],
)
def test_a_huge_line(tmp_path: Path, argv: list[str], name: str, head: bytes, code: int, memory: int) -> None:
    file = tmp_path / name
    sparse(file, head, memory + memory // 8)
    rows = tmp_path / "few.jsonl"
    rows.write_text('{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}\n' * 20)
    words = {"FILE": str(file), "ROWS": str(rows), "RUN": str(tmp_path)}
    command = [sys.executable, "-c", RUN, str(memory), *(words.get(word, word) for word in argv)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout[-2000:] + done.stderr[-2000:]
    assert "MiB" in done.stdout
