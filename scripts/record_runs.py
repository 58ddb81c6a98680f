"""Keep what the tests of report and comparison need of finished runs: manifest, telemetry, golden scores; no weights.

    python scripts/record_runs.py RUNS tests/report/recorded

RUNS is the folder that `ql launch --method both --out RUNS` wrote. Paths of this machine become /home/ada/….
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KEPT = (
    "run.json",
    "events.jsonl",
    "golden/scores/base.jsonl",
    "golden/scores/adapter.jsonl",
    "golden/scores/merged.jsonl",
)


def main(source: Path, target: Path) -> None:
    source = source.resolve()
    for method in ("qlora", "lora"):
        manifest = json.loads((source / method / "run.json").read_text(encoding="utf-8"))
        python = manifest["trainer_python"]
        places = {str(source): "/home/ada/runs", str(ROOT): "/home/ada/ql", python: "/home/ada/ql/.venv/bin/python"}
        for name in KEPT:
            text = (source / method / name).read_text(encoding="utf-8")
            if name == "run.json":
                (manifest.get("quantization") or {}).pop("quantized_modules", None)
                text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
            for place, instead in places.items():
                text = text.replace(place, instead)
            (target / method / name).parent.mkdir(parents=True, exist_ok=True)
            (target / method / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
