"""Hold ql's verdict against Axolotl's own, for the release of Axolotl that this Python has.

    python benchmarks/validate/differential.py                       # the corpus; writes results/axolotl-X.Y.json
    python benchmarks/validate/differential.py --examples FOLDER     # the configs that it publishes, into the same file
    python benchmarks/validate/differential.py --rendered            # what ql renders for it, into the same file
    python benchmarks/validate/differential.py --out OUT.json        # elsewhere

Axolotl's verdict is that of its `validate_config` with the plugins registered, as its `load_cfg` does, for one GPU of
compute capability 8.6; no model is loaded and nothing is fetched. A row's ``gone`` are the keys of the file that are
not in the config that Axolotl made of it. What is published is not kept, only the verdicts on it.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import io
import json
import logging
import os
import platform
import re
import sys
from collections import Counter
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import yaml

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from benchmarks.validate.corpus import Case
from benchmarks.validate.corpus_releases import corpus_of

RESULTS = Path(__file__).with_name("results")
DROPPED = ("QL101", "QL201", "QL202")  # keys of which ql says that Axolotl drops them
CAPABILITIES = {"bf16": True, "fp8": False, "tf32": True, "n_gpu": 1, "compute_capability": "sm_86"}
LIBRARIES = ("axolotl", "torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes", "pydantic")
Json = dict[str, Any]


def axolotl_verdict(text: str) -> tuple[str | None, Json]:
    """(why Axolotl refuses, or None; the config that it made)."""
    from axolotl.cli.config import prepare_plugins
    from axolotl.integrations.base import PluginManager
    from axolotl.utils.config import validate_config
    from axolotl.utils.dict import DictDefault

    PluginManager._instance = None  # one process, many configs: each starts with no plugins
    config = DictDefault(yaml.safe_load(text))
    torch = metadata.version("torch").split("+")[0]
    try:
        prepare_plugins(config)
        made = validate_config(config, capabilities=dict(CAPABILITIES), env_capabilities={"torch_version": torch})
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:300]}", {}
    return None, made.to_dict()


def reaches(made: Any, path: str) -> bool:
    """Whether the key at ``path`` ("datasets[0].type") is in the config that Axolotl made."""
    for part in re.findall(r"[^.\[\]]+", path):
        if isinstance(made, list) and part.isdigit() and int(part) < len(made):
            made = made[int(part)]
        elif isinstance(made, dict) and part in made:
            made = made[part]
        else:
            return False
    return made is not None


def keys_of(data: Any, start: str = "") -> Iterator[str]:
    """The path of every key with a value, the outer before the inner."""
    if isinstance(data, dict):
        for key, value in data.items():
            if value is not None:
                path = f"{start}.{key}" if start else str(key)
                yield path
                yield from keys_of(value, path)
    elif isinstance(data, list):
        for index, item in enumerate(data):
            yield from keys_of(item, f"{start}[{index}]")


def quietly(text: str) -> tuple[str | None, list[str]]:
    """Axolotl's refusal, and the keys that are gone from its config."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        refusal, made = axolotl_verdict(text)
    return refusal, [] if refusal else [path for path in keys_of(yaml.safe_load(text)) if not reaches(made, path)]


def digest(text: str) -> str:
    """Tells whether a case is still the one that Axolotl was asked about."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def verdict_on(case: Case, version: str) -> Json:
    """Axolotl's verdict on a case, and ql's."""
    refusal, gone = quietly(case.text)
    errors = ql_errors(case.text, version)
    return {
        "case": case.name,
        "fault": case.fault,
        "expected": case.code,
        "text": digest(case.text),
        "axolotl": refusal,
        "ql": sorted({code for code, _ in errors}),
        "gone": gone,
    }


def ql_errors(text: str, version: str) -> list[tuple[str, str]]:
    """Code and path of each of ql's errors."""
    from launcher.configs.validate import check_text

    found = check_text(text, file="config.yaml", kind="axolotl", versions={"axolotl": version})
    return [(finding.code, finding.path) for finding in found if finding.severity == "error"]


def count(rows: list[Json]) -> dict[str, int]:
    """How the two verdicts meet."""
    names = {
        (True, True): "refused by both",
        (True, False): "refused by Axolotl only",
        (False, True): "error in ql only",
        (False, False): "accepted by both",
    }
    counts = Counter(names[(row["axolotl"] is not None, bool(row["ql"]))] for row in rows)
    return {"configs": len(rows), "valid": sum(row["fault"] is None for row in rows)} | dict(sorted(counts.items()))


def example(path: Path, name: str, version: str) -> Json | None:
    """The verdicts on a published config; None when it is not a training config."""
    from launcher.configs.validate import Options, check_source

    source = path.read_bytes()
    if check_source(source, str(path), Options(skip_unknown=True)) is None:
        return None
    text = source.decode()
    refusal, gone = quietly(text)
    errors = ql_errors(text, version)
    return {
        "file": name,
        "axolotl": refusal,
        "ql": [f"{code} {path}" for code, path in errors],
        "not_gone": [] if refusal else [path for code, path in errors if code in DROPPED and path not in gone],
    }


def examples(folder: Path, version: str) -> Json:
    """The verdicts on every published config, and their counts."""
    paths = sorted(folder.rglob("*.y*ml"))
    made = (example(path, path.relative_to(folder).as_posix(), version) for path in paths)
    rows = [row for row in made if row is not None]
    refused = [row for row in rows if row["axolotl"]]
    codes = Counter(error.split()[0] for row in rows if not row["axolotl"] for error in row["ql"])
    counts = {
        "configs": len(rows),
        "refused by Axolotl": len(refused),
        "of these, error in ql": sum(bool(row["ql"]) for row in refused),
        "errors of ql in the others": dict(sorted(codes.items())),
    }
    return {"counts": counts, "rows": [row for row in rows if row["ql"] or row["axolotl"]]}


def rendered(version: tuple[int, int]) -> Json:
    """Axolotl's verdict on every preset as ql renders it for this release, with each method."""
    from launcher.catalog import list_presets
    from launcher.configs.render import render_config
    from launcher.data.facts import DataFacts
    from launcher.planning.decide import make_plan
    from launcher.preparing.request import make_request

    facts = DataFacts(
        rows=1000, eval_rows=50, conversational=True, tokens_total=200_000, tokens_mean=200.0, tokens_p95=400,
        tokens_max=900, exact=True,
    )  # fmt: skip
    tokens = {"eos": "<|im_end|>", "eot": "<|im_end|>", "pad": "<pad>"}
    wrong = {}
    asked = [(name, method) for name in list_presets() for method in ("qlora", "lora")]
    for name, method in asked:
        plan = make_plan(make_request(preset=name, backend="axolotl", data=facts, method=method))
        refusal, gone = quietly(render_config(plan, tokens, version=version)["config.yaml"])
        if refusal or gone:
            wrong[f"{name} {method}"] = refusal or f"dropped: {', '.join(gone)}"
    return {"configs": len(asked), "refused, or keys dropped": wrong}


def machine() -> Json:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    versions = {name: metadata.version(name) for name in LIBRARIES}
    return {
        "cpu": names[0] if names else platform.processor(),
        "python": platform.python_version(),
        "versions": versions,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--examples", type=Path, help="a folder of configs that this release publishes")
    parser.add_argument("--rendered", action="store_true", help="ask about what ql renders for this release")
    parser.add_argument("--out", type=Path, help="default: results/axolotl-X.Y.json")
    arguments = parser.parse_args()
    os.environ.update(AXOLOTL_DO_NOT_TRACK="1", HF_HUB_OFFLINE="1")
    logging.disable(logging.CRITICAL)
    major, minor = metadata.version("axolotl").split(".")[:2]
    version = f"{major}.{minor}"
    out: Path = arguments.out or RESULTS / f"axolotl-{version}.json"
    if arguments.examples:
        body = json.loads(out.read_text(encoding="utf-8")) | {"examples": examples(arguments.examples, version)}
        shown = body["examples"]["counts"]
    elif arguments.rendered:
        shown = rendered((int(major), int(minor)))
        body = json.loads(out.read_text(encoding="utf-8")) | {"rendered": shown}
    else:
        rows = [verdict_on(case, version) for case in corpus_of((int(major), int(minor)))]
        body = {"release": version, "machine": machine(), "counts": count(rows), "rows": rows}
        shown = body["counts"]
    out.parent.mkdir(exist_ok=True)
    out.write_text(render(body), encoding="utf-8")
    print(json.dumps(shown, indent=1))


def render(body: Json) -> str:
    """One row a line, so that a change of a verdict is a line of a diff."""

    def rows_of(rows: list[Json]) -> str:
        return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"

    parts = []
    for key, value in body.items():
        if key == "rows":
            shown = rows_of(value)
        elif key == "examples":
            shown = f'{{"counts": {json.dumps(value["counts"])},\n"rows": {rows_of(value["rows"])}}}'
        else:
            shown = json.dumps(value)
        parts.append(f"{json.dumps(key)}: {shown}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    main()
