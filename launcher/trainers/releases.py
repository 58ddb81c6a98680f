"""What a release of a trainer is to ql: data, so that the next one is an entry and no code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from launcher.rules.base import Version


@dataclass(frozen=True)
class Release:
    """One release. ``requires`` are requirement specifiers, ``python`` is what its own metadata asks for.

    ``launched``: ql trains with it; configs of the others are validated only. ``plugins`` is what the dotted names of
    the plugins begin with that it brings, whose keys its schema has; empty where it has no plugins.
    """

    version: Version
    schema: str  # of its config, under schemas/, without .json
    requires: tuple[str, ...] = ()
    python: str = ""
    launched: bool = True
    plugins: str = ""

    @property
    def name(self) -> str:
        """As a person writes it: 0.19."""
        return version_name(self.version)


def version_name(version: Version) -> str:
    """``(0, 19)`` as 0.19."""
    return f"{version[0]}.{version[1]}"


def read_version(text: str) -> Version | None:
    """``"0.19.0"`` as (0, 19); None when it is no version."""
    found = re.fullmatch(r"v?(\d+)\.(\d+)(\.\w+)*", text)
    return (int(found[1]), int(found[2])) if found else None
