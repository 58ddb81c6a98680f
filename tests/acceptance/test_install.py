"""Wheel, sdist and editable install, each in a clean environment with the core dependencies alone."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.acceptance

# Runs in the clean environment, outside the checkout: every preset as a dry run, and every file where it belongs.
PROBE = """
import contextlib, io, json, sys
from click.testing import CliRunner
from launcher.catalog import list_presets, load_preset
from launcher.cli.main import main
from launcher.resources import resource

data, golden, *only = sys.argv[1:]
failed = {}
for name in only or list_presets():
    argv = ["launch", "--dry-run", "--preset", name, "--data", data, "--golden", golden, "--gate", "exact_match>=0.8"]
    # A preset that names its trainer fits its card with that one only.
    fixed = load_preset(name).settings.get("backend")
    for backend in [fixed] if fixed else ["axolotl", "unsloth"]:
        result = CliRunner().invoke(main, [*argv, "--backend", backend])
        if result.exit_code or "config.yaml" not in result.stdout:
            failed[f"{name} {backend}"] = result.output + repr(result.exception)
heavy = sorted({"torch", "transformers", "numpy", "peft"} & set(sys.modules))
print(json.dumps({"presets": len(list_presets()), "failed": failed, "heavy": heavy, "home": str(resource("presets"))}))
"""


def run(*argv: str | Path, cwd: Path) -> str:
    environment = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "VIRTUAL_ENV")}
    done = subprocess.run(argv, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, root, cwd=folder)
    return {"wheel": next(folder.glob("*.whl")), "sdist": next(folder.glob("*.tar.gz")), "editable": root}


@pytest.mark.parametrize("kind", ["wheel", "sdist", "editable"])
def test_presets_dry_run_in_a_core_install(kind: str, built: dict[str, Path], root: Path, tmp_path: Path) -> None:
    python = tmp_path / "env" / "bin" / "python"
    what = ["-e", built[kind]] if kind == "editable" else [built[kind]]
    uv = shutil.which("uv", path=Path(sys.executable).parent)
    if kind == "wheel" or uv is None:  # as a newcomer does it; the others where it takes a tenth of the time
        run(sys.executable, "-m", "venv", tmp_path / "env", cwd=tmp_path)
        run(python, "-m", "pip", "install", "--quiet", *what, cwd=tmp_path)
    else:
        run(uv, "venv", "--quiet", "--python", sys.executable, tmp_path / "env", cwd=tmp_path)
        run(uv, "pip", "install", "--quiet", "--python", python, *what, cwd=tmp_path)
    (tmp_path / "probe.py").write_text(PROBE)
    examples = root / "examples"
    # All presets from the wheel; from the others enough to see that the same files are there.
    some = [] if kind == "wheel" else ["cpu-tiny", "a10g-7b", "h100-70b"]
    out = run(python, "probe.py", examples / "tickets.jsonl", examples / "golden.jsonl", *some, cwd=tmp_path)
    facts = json.loads(out.splitlines()[-1])
    assert facts["failed"] == {}
    assert facts["presets"] >= 40
    assert facts["heavy"] == []
    assert facts["home"].startswith(str(root if kind == "editable" else tmp_path))
    version = run(tmp_path / "env" / "bin" / "ql", "--version", cwd=tmp_path)
    assert version.startswith("ql, version ")
