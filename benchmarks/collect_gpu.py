"""Put what benchmarks/on_gpu.py brought back where it belongs, and make the pages of it.

    python benchmarks/collect_gpu.py OUT [OUT ...]

Newer records replace older ones of the same shape, a failure never a result. Running it again changes nothing. What is
left to do by hand: look at the differences, `make references`, and where the speeds are new,
`python benchmarks/presets/fit_speed.py`, which prints the constants for launcher/trainers/<name>/speed.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.on_gpu import calibrated  # noqa: E402
from benchmarks.presets.jobs import shape_key  # noqa: E402
from benchmarks.sizing import collect as sizing_collect  # noqa: E402  (benchmarks/sizing's own)

PAGES = (
    ("sizing/report.py",),
    ("presets/table.py",),
    ("presets/fit_speed.py", "--page"),
    ("survive/table.py",),
    ("device/table.py",),
    ("compare/table.py",),
)


def read(path: Path) -> Any:
    """What is in a JSON file, {} where there is none; SystemExit for one that is no JSON."""
    if not path.is_file():
        return {}
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        sys.exit(f"{path}: not JSON ({error})")


def records_of(path: Path) -> list[dict[str, Any]]:
    """The records of a results.jsonl; a last line that was cut off is left out."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.is_file() else [], start=1):
        try:
            found.append(json.loads(line))
        except ValueError:
            print(f"{path}:{number}: cut off, left out")
    return found


def worth(record: dict[str, Any]) -> tuple[bool, float]:
    return "error" not in record and bool(record.get("training")), record.get("at", 0.0)


def merged(older: Iterable[dict[str, Any]], newer: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record for each shape of each job, in the order in which the shapes were first seen."""
    found: dict[Any, dict[str, Any]] = {}
    for record in (*older, *newer):
        key = shape_key(record["kind"], record["id"], record["shape"])
        if key not in found or worth(record) > worth(found[key]):
            found[key] = record
    return list(found.values())


def put_records(folder: Path, root: Path) -> None:
    brought = records_of(folder / "results.jsonl")
    blind = [record for record in brought if record["kind"] == "blind"]
    for record in merged([], blind):
        sizing_collect.keep(record, root / "sizing" / "results" / "blind")
    rest = [record for record in brought if record["kind"] != "blind"]
    if rest:
        path = root / "presets" / "results" / "results.jsonl"
        lines = [json.dumps(record) + "\n" for record in merged(records_of(path), rest)]
        path.write_text("".join(lines), encoding="utf-8")
    print(f"{folder}: {len(rest)} records of presets, {len(blind)} of the blind test")


def put(found: Any, path: Path, good: Callable[[Any], float]) -> None:
    """Write ``found`` where what is there is not better."""
    if found and good(found) >= good(read(path)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        print(f"{path.relative_to(path.parents[2])}: {'as wanted' if good(found) >= 1 else 'NOT as wanted'}")


def ended(cases: Any) -> float:
    """The share of the exported presets that ended well."""
    codes = [case["exit_code"] for case in cases.get("cases", ())]
    return codes.count(0) / len(codes) if codes else -1.0


def collect(folder: Path, root: Path = HERE) -> None:
    """Put the files of one OUT in their places under ``root``."""
    put_records(folder, root)
    planned = read(folder / "presets.json")
    if planned:
        (root / "presets" / "results" / "presets.json").write_text(json.dumps(planned, indent=1), encoding="utf-8")
    finished = {True: 1.0, False: 0.0}
    put(
        read(folder / "calibrate.json"),
        root / "presets" / "results" / "calibrate.json",
        calibrated,
    )
    put(read(folder / "bare_export.json"), root / "device" / "bare_export.json", ended)
    put(
        read(folder / "device_both.json"),
        root / "compare" / "device_both.json",
        lambda found: finished[found.get("exit_code") == 0],
    )
    for backend, facts in read(folder / "oom.json").items():
        put(
            facts,
            root / "survive" / "results" / f"oom-{backend}.json",
            lambda found: finished[found.get("state") == "finished" and bool(found.get("repairs"))],
        )


def make_pages() -> None:
    """All pages that are built from the results; those of results that are not there yet stay as they are."""
    for page in PAGES:
        if page[0] == "compare/table.py" and not (HERE / "compare" / "device_both.json").is_file():
            continue
        done = subprocess.run([sys.executable, str(HERE / page[0]), *page[1:]], cwd=HERE.parent, check=False)
        print(f"{' '.join(page)}: {'made' if done.returncode == 0 else 'FAILED'}")


def main() -> None:
    folders = [Path(word) for word in sys.argv[1:]]
    if not folders or any(not folder.is_dir() for folder in folders):
        sys.exit("usage: collect_gpu.py OUT [OUT ...], each a folder that on_gpu.py wrote")
    for folder in folders:
        collect(folder)
    make_pages()
    print("left: git diff, make references; python benchmarks/presets/fit_speed.py fits the speed model anew")


if __name__ == "__main__":
    main()
