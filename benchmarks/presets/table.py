"""docs/presets.md from what prove.py measured: presets under caps, the method, dtypes, packing, calibrations.

python benchmarks/presets/table.py benchmarks/presets/results
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.presets.calibrations import calibration_section  # noqa: E402
from benchmarks.presets.records import find_records, load, sizing_records  # noqa: E402
from benchmarks.presets.standing import ENOUGH, TARGET, Standing, legend, preset_standing, standings_table  # noqa: E402
from benchmarks.presets.trade_offs import dtype_table, method_claims, method_records, method_table, packing_table  # noqa: E402


def timing(records: list[dict[str, Any]]) -> str:
    """What else went on while speeds were measured."""
    timed = [
        record
        for kind in ("preset", "example")
        for record in find_records(records, kind)
        if record.get("tokens_per_second") and record["shape"].get("rows") == "full"
    ]
    beside = sum(not record.get("alone") for record in timed)
    if not beside:
        return "Every other job on the machine was stopped while a shape was timed."
    return f"{beside} of {len(timed)} shapes were timed while other jobs loaded: their speeds are rough."


def verdict(standings: Sequence[Standing]) -> str:
    """How many presets are proven, use their budget, and are fast; how far the predictions were off."""
    proven = [one for one in standings if one.proven]
    enough = [one for one in proven if one.uses_enough]
    timed = [one for one in proven if one.times_as_fast is not None]
    fast = [one for one in timed if one.fast_enough]
    failed = [one.preset for one in standings if any("ran out of memory" in why for why in one.why)]
    off = [one.most_gib / one.predicted_gib - 1 for one in proven if one.from_own_run and one.most_gib]
    said = f"{len(failed)} ran out of memory" + (f" ({', '.join(failed)})" if failed else "")
    if off:
        said += f"; the most that was measured is off the prediction by {min(off):+.0%} to {max(off):+.0%}"
    counted = f"{len(proven)} of {len(standings)} presets are proven"
    rest = "" if len(proven) == len(standings) else "; the others were not run, or fell short as their note says"
    return f"""{counted}{rest}. Proven is what trained and evaluated within what its card gives.
{said}. {len(enough)} use at least {ENOUGH:.0%} of their budget. {len(fast)} of {len(timed)} are at least
{TARGET} times as fast as the trainer's own example settings, or run where those do not fit."""


def page(folder: Path) -> str:
    """docs/presets.md from the results in ``folder``."""
    records, presets, calibration = load(folder)
    sized = sizing_records()
    standings = [preset_standing(name, planned, records, sized) for name, planned in sorted(presets.items())]
    methods = method_records(records, sized)
    bases = sorted({record["model"] for record in methods})
    device = next((r["device"]["name"] for r in records if "device" in r), "a GPU")
    versions: dict[str, str] = next((r["versions"] for r in records if "versions" in r), {})
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    return f"""# The named presets under their cards' memory

Made by `benchmarks/presets/table.py` from the JSON in `benchmarks/presets/results`; do not edit. Measured on one
{device} ({said}), random weights of the real shape, full rows. GiB = 2^30 bytes.

Each preset ran under a cap equal to what its card gives, less CUDA context and paged optimizer state. **A capped
{device} proves memory: it is neither an A10G's speed nor its kernels.** {timing(records)}

{verdict(standings)}

{legend(device)}

{standings_table(standings)}

## QLoRA against LoRA

The same shapes of {", ".join(bases)}, bfloat16, activations recomputed, each trainer's fused kernels. "QLoRA's
time" is against LoRA's on the same shape.

{method_table(methods)}

{method_claims(methods, standings)}

## float16 against bfloat16

{dtype_table(records, sized)}

## Packing

Mistral 7B, QLoRA with Axolotl, log-normal rows of about 200 words, through the trainer's own sampler.

{packing_table(records)}

## On a card of its own

{calibration_section(calibration)}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "results", help="with prove.py's results")
    folder = parser.parse_args().folder
    (ROOT / "docs" / "presets.md").write_text(page(folder), encoding="utf-8")


if __name__ == "__main__":
    main()
