"""What an Axolotl is, read off its package: defaults, validators, plugins, adapters, what it asks for.

`scripts/new_release.py` records it and compares two releases by it; nothing of this needs the older one any more.
"""

from __future__ import annotations

import ast
import contextlib
import hashlib
import io
import json
import re
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FACTS = Path(__file__).with_name("releases")
LIBRARIES = ("torch", "transformers", "peft", "trl", "datasets", "accelerate", "bitsandbytes", "huggingface_hub")
# Where Axolotl keeps what it refuses and warns of: its schemas, and the arguments of the plugins that ql knows.
SOURCES = (
    "utils/schemas/**/*.py",
    *(f"integrations/{name}/args.py" for name in ("liger", "cut_cross_entropy", "context_parallel", "expert_parallel")),
)
Json = dict[str, Any]


def path_of(version: str) -> Path:
    """Where the facts of a release are recorded; ``version`` is "1.2"."""
    return FACTS / f"axolotl-{version}.json"


def read(version: str) -> Json:
    """The recorded facts of a release."""
    facts: Json = json.loads(path_of(version).read_text(encoding="utf-8"))
    return facts


def recorded() -> list[str]:
    """The releases whose facts are recorded, the oldest first."""
    names = [path.stem.removeprefix("axolotl-") for path in FACTS.glob("axolotl-*.json")]
    return sorted(names, key=lambda name: [int(part) for part in name.split(".")])


def facts_of(package: Path, version: str) -> Json:
    """The facts of the Axolotl in the folder ``package``, which is the one that is imported."""
    metadata = next(package.parent.glob("axolotl-*.dist-info")).joinpath("METADATA").read_text(encoding="utf-8")
    return {
        "release": version,
        "python": _header(metadata, "Requires-Python"),
        "pins": dict(sorted(_pins(metadata))),
        "always_on": _always_on(package),
        "adapters": dict(sorted(_adapters(package))),
        "defaults": dict(sorted(_defaults())),
        "validators": dict(sorted(validators(package))),
    }


def render(facts: Json) -> str:
    """The file's text: one fact a line."""
    return json.dumps(facts, indent=1) + "\n"


def _header(metadata: str, name: str) -> str:
    found = re.search(rf"^{name}: (.+)$", metadata, re.MULTILINE)
    return found[1] if found else ""


def _pins(metadata: str) -> Iterator[tuple[str, str]]:
    for name, bounds, condition in re.findall(r"^Requires-Dist: ([\w-]+)([^;\n]*)(;[^\n]*)?$", metadata, re.MULTILINE):
        if name in LIBRARIES and "extra ==" not in condition:
            yield name, ",".join(sorted(bounds.split(",")))


def _always_on(package: Path) -> list[str]:
    """The plugins that are on by themselves: a tuple of names in the module of plugins."""
    for node in ast.parse((package / "integrations" / "base.py").read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "BUILTIN_PLUGINS":
            return list(ast.literal_eval(node.value))
    return []


def _adapters(package: Path) -> Iterator[tuple[str, str]]:
    """Each adapter with the plugin that must be listed for it; empty for what needs none."""
    text = (package / "utils" / "schemas" / "peft.py").read_text(encoding="utf-8")
    found = re.search(r"adapter not in \(([^)]*)\)", text)
    for name in re.findall(r'"([\w-]+)"', found[1]) if found else ():
        yield name, ""
    for path in sorted((package / "integrations").glob("*/*.py")):
        text = path.read_text(encoding="utf-8")
        plugin = re.search(r"^class (\w+)\(BasePlugin\)", text, re.MULTILINE)
        for name in re.findall(r'AdapterCapabilities\(\s*name="(\w+)"', text):
            yield name, f"axolotl.integrations.{path.parent.name}.{plugin[1]}" if plugin else ""


def _defaults() -> Iterator[tuple[str, str]]:
    """The default of each key, as Python writes it; keys of a section have its model's name before them."""
    from axolotl.utils.schemas.config import AxolotlInputConfig
    from pydantic_core import PydanticUndefined

    seen: set[str] = set()
    waiting: list[tuple[str, Any]] = [("", AxolotlInputConfig)]
    while waiting:
        name, model = waiting.pop()
        for key, field in model.model_fields.items():
            default = field.get_default(call_default_factory=not field.default_factory_takes_validated_data)
            if default is not PydanticUndefined and not hasattr(default, "model_fields"):
                yield f"{name}.{key}" if name else key, repr(default)
            for inner in _models(field.annotation):
                if inner.__name__ not in seen:
                    seen.add(inner.__name__)
                    waiting.append((inner.__name__, inner))


def _models(annotation: Any) -> Iterator[Any]:
    if isinstance(annotation, type) and hasattr(annotation, "model_fields"):
        yield annotation
    for part in typing.get_args(annotation):
        yield from _models(part)


def validators(package: Path) -> Iterator[tuple[str, str]]:
    """Every validator in the source, as Class.method, with a digest of its body; nested and unused classes too."""
    for path in sorted(path for pattern in SOURCES for path in package.glob(pattern)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            for method in node.body if isinstance(node, ast.ClassDef) else ():
                if isinstance(method, ast.FunctionDef) and _validates(method):
                    yield f"{node.name}.{method.name}", _digest(method)  # type: ignore[attr-defined]


def _validates(method: ast.FunctionDef) -> bool:
    return any("validator" in ast.unparse(decorator) for decorator in method.decorator_list)


def _digest(method: ast.FunctionDef) -> str:
    """Of what it does: without its docstring and layout."""
    body = method.body[1:] if ast.get_docstring(method) is not None else method.body
    text = "\n".join(ast.unparse(statement) for statement in body)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def imported() -> tuple[Path, str]:
    """The folder of the Axolotl that is imported, and its version; nothing is printed."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import axolotl

    package = Path(axolotl.__file__).parent
    metadata = next(package.parent.glob("axolotl-*.dist-info")).joinpath("METADATA").read_text(encoding="utf-8")
    return package, ".".join(_header(metadata, "Version").split(".")[:2])
