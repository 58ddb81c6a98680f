"""What a release of a trainer is to ql: data, so that the next one is an entry and no code."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from launcher.rules.base import Version


class Fact(NamedTuple):
    """Something that a release does otherwise than the one before: what, and where that was seen."""

    what: str
    evidence: str


class Changed(NamedTuple):
    """The default of a key that had another one before, and where that was seen."""

    default: Any
    evidence: str


class Gone(NamedTuple):
    """What takes the place of a key that is no longer read (empty: nothing does), and where that was seen."""

    instead: str
    evidence: str


@dataclass(frozen=True)
class Release:
    """One release. ``requires`` are requirement specifiers, ``python`` is what its own metadata asks for.

    ``launched``: ql trains with it; configs of the others are validated only. ``plugins`` is what the dotted names of
    the plugins begin with that it brings, whose keys its schema has; empty where it has no plugins. ``always_on`` are
    those of them that are on without being listed. ``adapters`` are those that it knows, each with the plugin of its
    own that must be listed for it (empty: none).

    ``pins`` is what its metadata asks of the libraries that a run depends on. ``defaults``, ``gone`` and ``facts`` say
    what is otherwise than in the release before, each with its evidence; keys may be dotted (``outer.inner``).
    """

    version: Version
    schema: str  # of its config, under schemas/, without .json
    requires: tuple[str, ...] = ()
    python: str = ""
    launched: bool = True
    plugins: str = ""
    always_on: tuple[str, ...] = ()
    adapters: Mapping[str, str] = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, Changed] = field(default_factory=dict)
    gone: Mapping[str, Gone] = field(default_factory=dict)
    facts: tuple[Fact, ...] = ()

    @property
    def name(self) -> str:
        """As a person writes it: two numbers with a dot."""
        return version_name(self.version)


def version_name(version: Version) -> str:
    """``(1, 2)`` as 1.2."""
    return f"{version[0]}.{version[1]}"


def read_version(text: str) -> Version | None:
    """``"1.2.3"`` as (1, 2); None when it is no version."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\.\w+)*", text)
    return (int(found[1]), int(found[2])) if found else None


def defaults_in(releases: Sequence[Release], version: Version) -> Mapping[str, Any]:
    """The defaults of that release, by key, which are not those of the oldest one that is known."""
    upto = [release for release in releases if release.version <= version]
    return {key: changed.default for release in upto for key, changed in release.defaults.items()}
