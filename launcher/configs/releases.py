"""Which release of its trainer a config is checked for, who says so, and what other releases make of a key.

The first that says it counts: the trainer's python that was named, the release that was, the environment that ql runs
in, the file's header. Where nobody says it, it is the newest that ql knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Literal

from launcher.errors import Problem, Unreadable
from launcher.json_schema import Mismatch, Path, check, load_schema
from launcher.resources import resource
from launcher.rules.base import Hit, Kind, Version
from launcher.trainers import Trainer, all_trainers, get_trainer
from launcher.trainers.releases import Release, read_version, version_name

By = Literal["environment", "option", "header", "nobody"]


@dataclass(frozen=True)
class NamedRelease:
    """A release that somebody named."""

    version: Version
    by: By


@dataclass(frozen=True)
class Chosen:
    """The release that a config is checked for. It is not the one that was named where that is newer than any known."""

    trainer: Trainer
    release: Release
    named: NamedRelease

    @property
    def is_newer(self) -> bool:
        return self.named.version > self.release.version

    @property
    def who(self) -> str:
        """Why it is this release, as the end of a sentence."""
        if self.named.by in _SAYS:
            return f"{_SAYS[self.named.by]} {version_name(self.named.version)}"
        return f"this is checked as {self.release.name}"


_SAYS: Mapping[By, str] = {"environment": "this environment has", "header": "the file's header says"}


def choose(kind: Kind, given: NamedRelease | None, header: Version | None) -> Chosen:
    """The release of a trainer's config. Raises Unreadable for one that is older than what ql knows."""
    trainer = get_trainer(kind)
    newest = trainer.newest_known
    named = given or (NamedRelease(header, "header") if header else NamedRelease(newest.version, "nobody"))
    if named.version > newest.version:
        return Chosen(trainer, newest, named)
    found = next((release for release in trainer.releases if release.version == named.version), None)
    if found is None:
        message = f"no schema for {trainer.title} {version_name(named.version)}"
        who = "" if named.by == "option" else f" ({Chosen(trainer, newest, named).who})"
        raise Unreadable(Problem(message + who, hint="known: " + known_versions(kind)))
    return Chosen(trainer, found, named)


def known_versions(kind: Kind) -> str:
    """The releases of a trainer that there is a schema of, for a message."""
    return ", ".join(release.name for release in get_trainer(kind).releases)


def parse_versions(versions: Mapping[str, str]) -> dict[Kind, NamedRelease]:
    """The releases that were asked for, by the trainer's name. Raises Unreadable for what is none, or too old."""
    parsed: dict[Kind, NamedRelease] = {}
    for name, text in versions.items():
        version = read_version(text)
        if version is None:
            problem = f"no schema for {get_trainer(name).title} {text}"
            raise Unreadable(Problem(problem, hint="known: " + known_versions(name)))
        parsed[name] = NamedRelease(version, "option")
        choose(name, parsed[name], None)
    return parsed


def named_releases(python: str | None, version: str | None, versions: Mapping[str, str]) -> dict[Kind, NamedRelease]:
    """What a command names: a trainer's python, one release for every trainer that has several, or one of a trainer.

    What it does not name is what ql's own environment has. Raises Unreadable where the python cannot be run, or has
    another release than the one that is named too.
    """
    from launcher.trainers.installed import here, there

    several = [trainer for trainer in all_trainers() if len(trainer.releases) > 1]
    found = parse_versions({**({trainer.name: version for trainer in several} if version else {}), **versions})
    if python is None:
        for trainer in several:
            has = here(trainer.distribution) if trainer.name not in found else None
            found |= {trainer.name: NamedRelease(has, "environment")} if has else {}
        return found
    installed = there(python, [trainer.distribution for trainer in all_trainers()])
    if not installed:
        names = " and no ".join(trainer.title for trainer in all_trainers())
        raise Unreadable(Problem(f"{python} has no {names}", hint="name the python of the trainer's environment"))
    for trainer in several:
        has, named = installed.get(trainer.distribution), found.get(trainer.name)
        if has and named and named.version != has:
            said = version_name(named.version)
            message = f"{python} has {trainer.title} {version_name(has)}, and {said} was asked for"
            raise Unreadable(Problem(message, hint="leave one of the two out"))
        found |= {trainer.name: NamedRelease(has, "environment")} if has else {}
    return found


@cache
def _text(schema: str) -> str:
    """A schema as text: a key or a choice that is not in there is not taken; to see that is faster than to load it."""
    return resource("schemas", f"{schema}.json").read_text(encoding="utf-8")


class Elsewhere:
    """What other releases say of one config: looked at only where the chosen one refuses something."""

    def __init__(self, data: Any, chosen: Chosen) -> None:
        self.data, self.chosen = data, chosen
        self._refused: dict[Version, set[Path]] = {}

    def told(self, hit: Hit, mismatch: Mismatch) -> Hit:
        """The hit, with the releases that take what this one does not, if there are any."""
        releases, ours = self.chosen.trainer.releases, self.chosen.release.version
        path, is_key = mismatch.path, mismatch.keyword == "additionalProperties"
        # Schemas have a key a line, those of the top level with the smaller indentation.
        word = f'\n{"    " if len(path) == 1 else "      "}"{path[-1]}": ' if is_key else f'"{mismatch.value}"'
        named = [release for release in releases if word in _text(release.schema)]
        newer = next((one for one in named if one.version > ours and self._takes(one, path)), None)
        if newer is not None:
            verb = "has" if is_key else "takes"
            hint = f"{self.chosen.trainer.title} {verb} it since {newer.name}; {self.chosen.who}"
            return replace(hit, message=self._message(hit, path, is_key), hint=hint, repair=None)
        older = next((one for one in reversed(named) if one.version < ours and self._takes(one, path)), None)
        if older is None or not is_key:
            return hit
        gone = next(release for release in releases if release.version > older.version)
        key = ".".join(str(part) for part in path if not isinstance(part, int))
        instead = gone.gone[key].instead if key in gone.gone else ""
        hint = f"gone since {gone.name}: " + (f"use {instead}" if instead else "nothing takes its place")
        return replace(hit, message=self._message(hit, path), hint=f"{hint}; {self.chosen.who}", repair=None)

    def _message(self, hit: Hit, path: Path, is_key: bool = True) -> str:
        """Of a key: not that it is unknown."""
        release = f"{self.chosen.trainer.title} {self.chosen.release.name}"
        return f"{release} has no key {str(path[-1])!r}" if is_key else hit.message

    def _takes(self, release: Release, path: Path) -> bool:
        if release.version not in self._refused:
            found = check(self.data, load_schema(release.schema), mode=self.chosen.trainer.schema_mode)
            self._refused[release.version] = {error.path for error in found.errors}
        return path not in self._refused[release.version]
