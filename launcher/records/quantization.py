"""quantization.json: how the base was held in training, as the trainer's process saw it."""

from __future__ import annotations

from dataclasses import dataclass, field

from launcher.records.codec import Record


@dataclass(kw_only=True)
class QuantizationRecord(Record):
    """Of a base in 16 or 32 bits, ``quant_type`` is None. Modules by the base's own names."""

    version: int | None = None
    backend: str | None = None
    method: str | None = None
    quant_type: str | None = None
    double_quant: bool = False
    block_size: int | None = None
    compute_dtype: str | None = None
    load_dtype: str | None = None
    storage_dtype: str | None = None
    quantized_modules: list[str] = field(default_factory=list)
    skipped_modules: list[str] = field(default_factory=list)
    device: str | None = None
    bitsandbytes: str | None = None
    versions: dict[str, str | None] = field(default_factory=dict)
