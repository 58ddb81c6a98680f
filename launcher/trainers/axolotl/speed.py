"""How well Axolotl uses a card, as benchmarks/presets/fit_speed.py fits it; docs/speed.md has the errors."""

from __future__ import annotations

from launcher.sizing.throughput import Speed

SPEED = Speed(
    matmul=0.737, traffic=4.0, dequant=0.898, logit_bytes=5.3, launch=0.00503, launch_lora=0.935,
    step=0.0092, offload=1.10, plain_kernels=1.18,
)  # fmt: skip
