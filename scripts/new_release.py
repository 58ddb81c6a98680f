"""Make the entry of a release of Axolotl, and say what is otherwise than in the release before.

    python scripts/new_release.py                             # the Axolotl that this Python has
    python scripts/new_release.py --wheel axolotl-1.2.3.whl   # a wheel, with the dependencies that this Python has
    python scripts/new_release.py --compare 1.1 1.2           # two that are recorded; writes nothing

It writes schemas/axolotl-X.Y.json and scripts/releases/axolotl-X.Y.json, and prints the entry for
launcher/trainers/axolotl/releases.py, then the keys, defaults and validators that changed, each with the rules of ql
that rest on it. What is left for a person: the facts that no schema shows, and the verdicts
(benchmarks/validate/differential.py).
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

import release_facts
from launcher.json_schema import load_schema

ROOT = Path(__file__).resolve().parent.parent

NOTES = Path(__file__).with_name("axolotl_validators.yaml")
Json = dict[str, Any]


class Difference:
    """Two releases, the older first: what is new, gone and otherwise of a kind of fact."""

    def __init__(self, old: Json, new: Json) -> None:
        self.new = sorted(set(new) - set(old))
        self.gone = sorted(set(old) - set(new))
        self.changed = sorted(key for key in set(old) & set(new) if old[key] != new[key])


def flat(schema: Json) -> Json:
    """Each key of a schema with its form, without its description; keys of a section have its model's name before."""
    sections = {"": schema["properties"]}
    sections |= {name: definition.get("properties", {}) for name, definition in schema["$defs"].items()}
    return {
        f"{name}.{key}" if name else key: {part: value for part, value in form.items() if part != "description"}
        for name, properties in sections.items()
        for key, form in properties.items()
    }


def report(before: str, after: str, schema: Json | None = None) -> str:
    """What changed from one release to the next. ``schema`` is the newer one, where it is not written yet."""
    old, new = release_facts.read(before), release_facts.read(after)
    keys = Difference(flat(load_schema(f"axolotl-{before}")), flat(schema or load_schema(f"axolotl-{after}")))
    defaults = Difference(old["defaults"], new["defaults"])
    checks = Difference(old["validators"], new["validators"])
    lines = [f"# Axolotl {after} against {before}", ""]
    lines += [f"Python {old['python']} -> {new['python']}", *_pins(old["pins"], new["pins"])]
    lines += [f"on by themselves: {', '.join(new['always_on']) or 'none'}", f"adapters: {', '.join(new['adapters'])}"]
    touched = [*keys.gone, *keys.changed, *defaults.changed]
    lines += ["", "## Keys", *_listed("new", keys.new), *_listed("gone", keys.gone), *_listed("changed", keys.changed)]
    lines += ["", "## Defaults"]
    lines += [f"{key}: {old['defaults'][key]} -> {new['defaults'][key]}" for key in defaults.changed] or ["none"]
    lines += ["", "## Validators"]
    for word, names in (("new", checks.new), ("gone", checks.gone), ("changed", checks.changed)):
        lines += [f"{word}: {name}{_who(name)}" for name in names]
    lines += ["", "## Rules that rest on a key that changed"]
    lines += [f"{code}: {', '.join(found)}" for code, found in resting_on(touched)] or ["none"]
    return "\n".join(lines) + "\n"


def _pins(old: Json, new: Json) -> Iterator[str]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield f"{name} {old.get(name, 'none')} -> {new.get(name, 'none')}"


def _listed(word: str, names: Iterable[str]) -> list[str]:
    return [f"{word}: {name}" for name in names]


def _who(name: str) -> str:
    """Who speaks of a validator: rules of ql, or the note that says why none does."""
    from launcher.configs.rules import all_rules

    rules = [code for code, rule in all_rules().items() if name in rule.upstream]
    notes: dict[str, str] = yaml.safe_load(NOTES.read_text(encoding="utf-8"))
    return f" ({', '.join(rules)})" if rules else f" ({notes[name]})" if name in notes else " (NOBODY SPEAKS OF IT)"


def resting_on(keys: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """The rules whose source names one of these keys, with those that it names."""
    from launcher.configs.rules import all_rules

    names = {key.rpartition(".")[2] for key in keys}
    for code, rule in all_rules().items():
        said = set(re.findall(r'"(\w+)"', inspect.getsource(rule.check)))
        if said & names:
            yield code, sorted(said & names)


def entry(facts: Json, before: Json) -> str:
    """The entry for launcher/trainers/axolotl/releases.py, with what a person has to find the evidence of."""
    major, minor = facts["release"].split(".")
    changed = Difference(before["defaults"], facts["defaults"]).changed
    pins = {name: bound for name, bound in facts["pins"].items() if name != "torch"}
    requires = (f"axolotl>={major}.{minor},<{major}.{int(minor) + 1}", f"torch{facts['pins'].get('torch', '')}")
    defaults = "".join(f'            "{key}": Changed({facts["defaults"][key]}, "TODO"),\n' for key in changed)
    return (
        f"    Release(\n        ({major}, {minor}),\n"
        f'        "axolotl-{facts["release"]}",\n        python="{facts["python"]}",\n'
        f"        requires={requires!r},\n        launched=False,\n        plugins=PLUGINS,\n"
        f"        always_on={tuple(facts['always_on'])!r},\n        adapters={facts['adapters']!r},\n"
        f"        pins={pins!r},\n        defaults={{\n{defaults}        }},\n    ),\n"
    )


def record(package: Path, version: str) -> Json:
    """Write the schema and the facts of the Axolotl that is imported; the schema comes back."""
    import make_axolotl_schema as maker

    _, schema = maker.generate()
    (ROOT / "schemas" / f"axolotl-{version}.json").write_text(maker.render(schema), encoding="utf-8")
    path = release_facts.path_of(version)
    path.parent.mkdir(exist_ok=True)
    path.write_text(release_facts.render(release_facts.facts_of(package, version)), encoding="utf-8")
    return schema


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--wheel", type=Path, help="make it from this wheel instead of the installed Axolotl")
    what.add_argument("--compare", nargs=2, metavar="X.Y", help="compare two that are recorded; write nothing")
    arguments = parser.parse_args()
    if arguments.compare:
        print(report(*arguments.compare), end="")
        return
    with tempfile.TemporaryDirectory() as scratch:
        if arguments.wheel:
            zipfile.ZipFile(arguments.wheel).extractall(scratch)
            sys.path.insert(0, scratch)
        package, version = release_facts.imported()
        schema = record(package, version)
    known = release_facts.recorded()
    older = known[: known.index(version)]
    if not older:
        print(f"{version} is recorded; there is no older one to compare with", file=sys.stderr)
        return
    print(entry(release_facts.read(version), release_facts.read(older[-1])))
    print(report(older[-1], version, schema), end="")


if __name__ == "__main__":
    main()
