"""What hardware can do from which CUDA compute capability on: each rule once, with its source.

What holds for one GPU alone is in its file under presets/gpus/. What only one trainer refuses is in its own room.
"""

from __future__ import annotations

# Tensor cores multiply bf16 at the fp16 rate, and TensorFloat-32 (NVIDIA A100 Tensor Core GPU Architecture, 2020).
BFLOAT16 = 8.0
TENSOR_FLOAT_32 = 8.0
FLASH_ATTENTION_2 = 8.0  # its README: Ampere, Ada, Hopper
TRITON = 7.5  # from here on its kernels are maintained
PACKED_SDPA_IN_BFLOAT16 = 9.0  # below it the loss may become 0: a trainer's own check of its configs warns of it


def has_bfloat16(capability: float, *, is_cpu: bool = False) -> bool:
    """Whether 16-bit compute can be bf16; a CPU computes in it too, whatever its capability."""
    return is_cpu or capability >= BFLOAT16
