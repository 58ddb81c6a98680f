"""The release of Unsloth that train.py is written for; the schema is of train.py's own config."""

from __future__ import annotations

from launcher.trainers.releases import Release

RELEASES = (
    Release(
        (2026, 10),
        "unsloth",
        requires=("unsloth>=2026.10.5,<2026.11", "torch>=2.11,<2.15"),
        python=">=3.9,<3.15",
    ),
)
