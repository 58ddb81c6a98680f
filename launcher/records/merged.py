"""merge.json, and what run.json says of a merge: what was merged, and how far it is from the model that was trained."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from launcher.records.codec import LATE, Record

StoredDtype = Literal["float16", "bfloat16"]  # of merged weights
WantedDtype = Literal["auto", "float16", "bfloat16"]


@dataclass(kw_only=True)
class Shard(Record):
    """A file of the merged model."""

    file: str
    bytes: int = 0
    sha256: str


@dataclass(kw_only=True)
class Shards(Record):
    """What is looked at of a merge.json to check its folder."""

    shards: list[Shard] = field(default_factory=list)


@dataclass(kw_only=True)
class QuantizationFacts(Record):
    """How the base was held in training, and how that is known; ``tensors`` counts those that were quantised."""

    kind: str | None = None
    double_quant: bool = False
    block_size: int = 64
    load_dtype: str | None = None
    tensors: int = 0
    source: str = ""
    device: str | None = None
    compute_dtype: str | None = None
    bitsandbytes: str | None = None
    stored_dtype: str | None = None


@dataclass(kw_only=True)
class Distance(Record):
    """How far two models' logits are apart: KL in nats a token, share of like top tokens, relative L2."""

    kl: float
    top1_agreement: float
    relative_l2: float


@dataclass(kw_only=True)
class OtherBase(Distance):
    """The same for a merge into the other choice of base."""

    base: str


@dataclass(kw_only=True)
class Merged(Record):
    """A merged model. What the comparison with the trained model found is there once that was made.

    Errors are relative; ``delta_error`` is None for an adapter that changes nothing.
    """

    format: int = 1
    base: str | None = None
    base_path: str = ""
    adapter_path: str = ""
    dtype: Literal["float16", "bfloat16", "float32"]
    dtype_reason: str = ""
    quantization: QuantizationFacts = field(default_factory=QuantizationFacts)
    tensors: int = 0
    bytes: int | None = None
    merged_modules: int | None = None
    delta_error: float | None = None
    delta_vs_quant_error: float | None = None
    device: str = ""
    device_reason: str = ""
    notes: list[str] = field(default_factory=list)
    tokenizer_path: str = ""
    shards: list[Shard] = field(default_factory=list)
    fingerprint: str = ""
    seconds: Annotated[float | None, LATE] = None
    stage_seconds: Annotated[dict[str, float], LATE] = field(default_factory=dict)
    resumed_shards: Annotated[int | None, LATE] = None
    kl: Annotated[float | None, LATE] = None
    top1_agreement: Annotated[float | None, LATE] = None
    relative_l2: Annotated[float | None, LATE] = None
    tokens: Annotated[int | None, LATE] = None
    other: Annotated[OtherBase | None, LATE] = None
