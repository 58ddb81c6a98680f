"""The releases of Axolotl whose configs ql knows. Their schemas are made by scripts/make_axolotl_schema.py."""

from __future__ import annotations

from launcher.trainers.releases import Release

PLUGINS = "axolotl.integrations."

RELEASES = (
    Release((0, 17), "axolotl-0.17", launched=False, plugins=PLUGINS),
    Release((0, 18), "axolotl-0.18", launched=False, plugins=PLUGINS),
    Release(
        (0, 19), "axolotl-0.19", python=">=3.10", requires=("axolotl==0.19.0", "torch>=2.11,<=2.13"), plugins=PLUGINS
    ),
)
