"""How well Unsloth uses a card, as benchmarks/presets/fit_speed.py fits it; docs/speed.md has the errors."""

from __future__ import annotations

from launcher.sizing.throughput import Speed

SPEED = Speed(
    matmul=0.839, traffic=4.0, dequant=0.752, logit_bytes=5.8, launch=0.00398, launch_lora=0.77,
    step=0.0028, offload=1.0, plain_kernels=1.0,  # its kernels have no switch
    padding_free=True, padded_by="unsloth",
)  # fmt: skip
