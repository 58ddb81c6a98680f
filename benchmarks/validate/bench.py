"""Time `ql validate` beside Axolotl's own loading and check-jsonschema, in one run.

    python benchmarks/validate/bench.py --core CORE/bin --full FULL/bin --check-jsonschema OTHER/bin -o bench.json

CORE is an environment with ql alone, FULL one with ql and both trainers, OTHER one with check-jsonschema. Every
command is run once to warm the disk and the byte code, then ``--repeat`` times; wall time and peak resident memory are
those of the process, as the kernel counts them (wait4).
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
FILES = 500
LOAD = "import sys; from axolotl.cli.config import load_cfg; load_cfg(sys.argv[1])"


def measure(command: list[str], folder: Path, repeat: int) -> dict[str, Any]:
    """Seconds (minimum, median, and of the processor) and MiB of a command, run in ``folder``."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    environment |= {"AXOLOTL_DO_NOT_TRACK": "1", "HF_HUB_OFFLINE": "1"}
    walls, processors, peaks = [], [], []
    for attempt in range(repeat + 1):
        start = time.perf_counter()
        quiet = subprocess.DEVNULL
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=quiet, stderr=quiet)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            raise SystemExit(f"{' '.join(command)}: exit code {process.returncode}")
        if attempt:
            walls.append(wall)
            processors.append(usage.ru_utime + usage.ru_stime)
            peaks.append(usage.ru_maxrss / 1024)
    return {
        "seconds_min": round(min(walls), 3),
        "seconds_median": round(statistics.median(walls), 3),
        "cpu_seconds_min": round(min(processors), 3),
        "peak_mib": round(max(peaks), 1),
        "runs": repeat,
    }


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    names = [
        line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line
    ]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_before": [round(value, 2) for value in os.getloadavg()],
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "date": date.today().isoformat(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=Path, required=True)
    parser.add_argument("--full", type=Path, required=True)
    parser.add_argument("--check-jsonschema", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--repeat-axolotl", type=int, default=3)
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        export = [
            arguments.full / "ql",
            "export",
            "--preset",
            "cpu-tiny",
            "--data",
            ROOT / "examples" / "tickets.jsonl",
        ]
        subprocess.run([*map(str, export), "-o", str(folder / "run")], check=True, capture_output=True)
        run = folder / "run"
        shutil.copy(run / "config.yaml", run / "one.yaml")
        (folder / "many").mkdir()
        for number in range(FILES):
            shutil.copy(run / "config.yaml", folder / "many" / f"{number:03}.yaml")
        schema = ROOT / "schemas" / "axolotl-0.19.json"
        core, full, other = (path.resolve() for path in (arguments.core, arguments.full, arguments.check_jsonschema))
        commands: dict[str, tuple[list[str], Path, int]] = {
            "ql validate one.yaml (core)": ([f"{core}/ql", "validate", "one.yaml"], run, arguments.repeat),
            "ql validate one.yaml (with trainers)": ([f"{full}/ql", "validate", "one.yaml"], run, arguments.repeat),
            "ql --help (core)": ([f"{core}/ql", "--help"], run, arguments.repeat),
            f"ql validate, {FILES} files (core)": ([f"{core}/ql", "validate", "many"], folder, 3),
            "check-jsonschema one.yaml": (
                [f"{other}/check-jsonschema", "--schemafile", str(schema), "one.yaml"],
                run,
                arguments.repeat,
            ),
            "axolotl --help": ([f"{full}/axolotl", "--help"], run, arguments.repeat_axolotl),
            "axolotl load_cfg(one.yaml)": ([f"{full}/python", "-c", LOAD, "one.yaml"], run, arguments.repeat_axolotl),
        }
        results = {name: measure(*command) for name, command in commands.items()}
    one = results["ql validate one.yaml (core)"]["seconds_median"]
    ratios = {
        "to check-jsonschema": round(one / results["check-jsonschema one.yaml"]["seconds_median"], 2),
        "axolotl load_cfg to ql": round(results["axolotl load_cfg(one.yaml)"]["seconds_median"] / one, 1),
    }
    body = {"machine": where, "results": results, "ratios": ratios}
    arguments.output.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    for name, result in results.items():
        print(f"{name:40} {result['seconds_min']:8.3f} {result['seconds_median']:8.3f} s {result['peak_mib']:8.1f} MiB")
    print(ratios)


if __name__ == "__main__":
    main()
