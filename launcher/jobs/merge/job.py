"""The merge, as a job in the trainer's python: read, check, stream, write, publish."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from launcher.errors import BadInput, Problem, QlError, RunFailed, Unreadable
from launcher.files import sha256_file
from launcher.jobs.merge import engine, library, writer
from launcher.jobs.merge.adapter import Adapter, read_adapter
from launcher.jobs.merge.engine import Block, Engine, Figures
from launcher.jobs.merge.outline import Outline, outline
from launcher.jobs.merge.pipeline import Disk, Stages
from launcher.jobs.merge.places import CONFIG, WEIGHTS, require_places
from launcher.jobs.merge.record import Quantization, assume, from_record
from launcher.jobs.merge.sources import EightBit, FourBit
from launcher.jobs.merge.tensors import TensorRef, read_checkpoint
from launcher.jobs.merge.values import check_values
from launcher.merge import folder
from launcher.merge.manifest import MANIFEST, read_object
from launcher.merge.names import spellings
from launcher.records.codec import decode, encode
from launcher.records.jobs import Emit, MergeRequest
from launcher.records.merged import Merged, Shard

SHARD_BYTES = 2_000_000_000
FORMAT = 1


def run(request: MergeRequest, emit: Emit) -> Merged:
    """Merge the adapter into the base and write the model.

    Where there is no record of how the base was held, the rule of record.assume says it. Raises BadInput when adapter
    and base do not fit, before anything is written.
    """
    begin = time.monotonic()
    out = Path(request.out).absolute()
    merge = Merge(request)
    finished = merge.already_done(out)
    if finished is not None:
        return replace(finished, seconds=0.0, resumed_shards=len(finished.shards))
    manifest, resumed, stages = merge.write(out, emit)
    seconds = round(time.monotonic() - begin, 3)
    return replace(manifest, seconds=seconds, stage_seconds=stages.rounded(), resumed_shards=resumed)


class Merge:
    """A merge whose inputs have been read and found to fit."""

    def __init__(self, request: MergeRequest) -> None:
        self.base_path = Path(request.base)
        self.adapter_path = Path(request.adapter)
        self.mode = request.base_mode
        if self.mode not in ("dequantized", "original"):
            raise BadInput(f"base_mode {self.mode!r} is neither dequantized nor original")
        require_places(self.base_path, self.adapter_path)
        self.config = read_object(self.base_path / "config.json")
        self.adapter = read_adapter(self.adapter_path)
        check_values(self.adapter)
        refuse_other_quantisation(self.config, self.base_path)
        self.base = read_checkpoint(self.base_path)
        self.quantization = quantization(request, self.config, self.base, self.adapter)
        self.dtype, self.dtype_reason = folder.choose_dtype(request.dtype, self.config)
        self.outline: Outline = outline(
            self.base,
            self.config,
            self.adapter,
            self.quantization,
            getattr(torch, self.dtype),
            self.mode == "original",
        )
        self.outline.notes += other_base(self.adapter.base_name, self.base_path)
        self.template = Path(request.chat_template) if request.chat_template else None
        self.tokenizer = folder.tokenizer_folder(request.tokenizer, self.adapter_path, self.base_path)
        self.tokens = folder.special_tokens(self.tokenizer)
        if self.outline.rows is not None:
            self.outline.notes += folder.check_rows(self.tokenizer, self.base_path, *self.outline.rows)
        self.shards = writer.split(self.outline.outputs, request.shard_bytes or SHARD_BYTES)
        largest = max((ref.nbytes for ref in self.base.values()), default=0)
        self.device, self.device_reason = engine.choose_device(request.device, largest)
        if self.device.type == "cuda" and any(isinstance(o.source, FourBit) for o in self.outline.outputs):
            library.import_ahead()
        self.fingerprint = self.identify()

    def identify(self) -> str:
        """A digest of all that decides the output's bytes, by which an interrupted merge is recognised."""
        files = sorted({ref.path for ref in self.base.values()})
        facts = {
            "format": FORMAT,
            "torch": torch.__version__,
            "base": [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files],
            "config": self.config,
            "adapter": [sha256_file(self.adapter_path / name) for name in (CONFIG, WEIGHTS)],
            "quantization": {**asdict(self.quantization), "tensors": sorted(self.quantization.tensors)},
            "mode": self.mode,
            "dtype": self.dtype,
            "device": self.device.type,
            "shards": [(shard.file, shard.nbytes) for shard in self.shards],
            "template": self.template.read_text(encoding="utf-8") if self.template else None,
            "tokenizer": [sha256_file(path) for path in self.tokenizer_files()],
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def tokenizer_files(self) -> list[Path]:
        return [path for name in folder.TOKENIZER_FILES if (path := self.tokenizer / name).is_file()]

    def already_done(self, out: Path) -> Merged | None:
        """The manifest of this very merge when it is complete in ``out``.

        Raises Unreadable when ``out`` holds anything else.
        """
        if not out.exists() or (out.is_dir() and not any(out.iterdir())):
            return None
        try:
            manifest = read_object(out / MANIFEST)
        except QlError:
            manifest = {}
        if manifest.get("fingerprint") != self.fingerprint:
            raise Unreadable(Problem("the output folder is not empty", str(out), hint="name another with --out"))
        return decode(Merged, manifest, file=str(out / MANIFEST))

    def write(self, out: Path, emit: Emit) -> tuple[Merged, int, Stages]:
        """Write what is missing and publish it; returns the manifest, how many shards were kept, and the times."""
        staging = writer.Staging(out, self.fingerprint)
        try:
            staging.out.parent.mkdir(parents=True, exist_ok=True)
            kept = staging.open()
            total = sum(shard.nbytes for shard in self.shards)
            done = sum(shard.nbytes for shard in self.shards if shard.file in kept)
            try:
                writer.check_space(staging.path, total, done)
            except RunFailed:
                if not kept:
                    staging.discard()
                raise
            stages = self.write_shards(staging, Progress(emit, total, done))
            manifest = self.manifest(staging)
            config = folder.merged_config(self.outline.config, self.dtype, self.tokens)
            generation = folder.generation_config(self.base_path, self.config, self.tokens)
            index = self.index()
            folder.write_small_files(
                staging.path, config, generation, self.tokenizer, self.template, index, encode(manifest)
            )
            staging.publish()
        except OSError as error:
            raise RunFailed(Problem(f"cannot write the merged model: {error.strerror}", str(staging.out))) from None
        return manifest, len(kept), stages

    def write_shards(self, staging: writer.Staging, progress: Progress) -> Stages:
        """Compute, write and enter every shard that is not in the ledger yet."""
        missing = [shard for shard in self.shards if shard.file not in staging.done]
        stages = Stages()
        machine = Engine(self.device, stages)
        disk = Disk(staging, machine.in_flight, stages)
        try:
            blocks = machine.run([output for shard in missing for output in shard.outputs])
            for shard in missing:
                disk.begin(shard)
                figures = Figures()
                for block in blocks_of(blocks, len(shard.outputs)):
                    name = block.output.name
                    figures.add(block.figures)
                    disk.append(block.data, f"tensor {name!r}", partial(progress.advance, block.data.nbytes, name))
                disk.finish(vars(figures))
                progress.advance(len(shard.header), "the header")
            disk.join()
        finally:
            machine.close()
            disk.close()
        return stages

    def manifest(self, staging: writer.Staging) -> Merged:
        entries = [staging.done[shard.file] for shard in self.shards]
        figures = Figures()
        for entry in entries:
            figures.add(Figures(**entry["figures"]))
        notes = list(self.outline.notes)
        trained_on = self.quantization.device
        again = any(isinstance(output.source, FourBit | EightBit) for output in self.outline.outputs)
        if again and trained_on and trained_on != self.device.type:
            notes.append(f"the base was quantised on {trained_on} and again here on {self.device.type}")
        errors = figures.errors()
        return Merged(
            format=FORMAT,
            base=self.mode,
            base_path=str(self.base_path.absolute()),
            adapter_path=str(self.adapter_path.absolute()),
            dtype=self.dtype,
            dtype_reason=self.dtype_reason,
            quantization=self.quantization.facts(),
            tensors=len(self.outline.outputs),
            bytes=sum(entry["bytes"] for entry in entries),
            merged_modules=figures.modules,
            delta_error=errors["delta_error"],
            delta_vs_quant_error=errors["delta_vs_quant_error"],
            device=self.device.type,
            device_reason=self.device_reason,
            notes=notes,
            tokenizer_path=str(self.tokenizer.absolute()),
            shards=[Shard(file=entry["file"], bytes=entry["bytes"], sha256=entry["sha256"]) for entry in entries],
            fingerprint=self.fingerprint,
        )

    def index(self) -> dict[str, object]:
        weight_map = {output.name: shard.file for shard in self.shards for output in shard.outputs}
        return {"metadata": {"total_size": self.outline.nbytes}, "weight_map": weight_map}


def other_base(named: str, base: Path) -> list[str]:
    """A note when the adapter names a base that ``base``, a folder or a hub snapshot, does not look like."""
    last = Path(named).name
    if not last or last.lower() in str(base.absolute()).lower():
        return []
    return [f"the adapter was trained on {named!r}, by its own account: make sure that {base} is the same model"]


def blocks_of(blocks: Iterator[Block], tensors: int) -> Iterator[Block]:
    """The blocks of the next so many tensors."""
    while tensors:
        block = next(blocks)
        tensors -= block.last
        yield block


class Progress:
    """Tells how far the work is, a few times a second, in words and in numbers."""

    INTERVAL = 0.2

    def __init__(self, emit: Emit, total: int, done: int, unit: str = "bytes") -> None:
        self.emit, self.total, self.done, self.unit = emit, total, done, unit
        self.begin, self.start_done = time.monotonic(), done
        self.next = 0.0

    def advance(self, count: int, what: str) -> None:
        self.done += count
        seconds = time.monotonic() - self.begin
        if seconds < self.next and self.done < self.total:
            return
        self.next = seconds + self.INTERVAL
        rate = (self.done - self.start_done) / seconds if seconds else 0.0
        left = (self.total - self.done) / rate if rate else 0.0
        if self.unit == "bytes":
            counted = f"{self.done / 1e9:.2f} of {self.total / 1e9:.2f} GB, {rate / 1e6:,.0f} MB/s"
        else:
            counted = f"{self.done} of {self.total} {self.unit}"
        self.emit(
            {
                "event": "progress",
                "text": f"{counted}, {left:.0f} s left",
                "fraction": round(self.done / self.total, 4),
                "rate": round(rate, 3),
                "seconds_left": round(left, 1),
                "what": what,
            }
        )


def quantization(
    request: MergeRequest, config: Mapping[str, object], base: dict[str, TensorRef], adapter: Adapter
) -> Quantization:
    """What training computed with: recorded, or read off a base that is stored quantised, or by the rule."""
    if request.record:
        return from_record(request.record, base)
    if config.get("quantization_config"):
        return stored_quantization(config)
    modules = [spelling for module in adapter.updates for spelling in spellings(module)]
    return assume(request.quantized, config, base, modules)


def refuse_other_quantisation(config: Mapping[str, Any], base: Path) -> None:
    """Raises BadInput for a base that another library than bitsandbytes quantised: its weights cannot be added to."""
    method = (config.get("quantization_config") or {}).get("quant_method", "bitsandbytes")
    if method != "bitsandbytes":
        hint = "name the 16-bit model that it was made from as the base"
        message = f"the base is stored quantised by {method}, which ql cannot merge"
        raise BadInput(Problem(message, str(base / "config.json"), hint=hint))


def stored_quantization(config: Mapping[str, Any]) -> Quantization:
    """How a base that is stored quantised was quantised; each tensor carries the rest of its state itself."""
    stored = config["quantization_config"]
    kind = stored.get("bnb_4bit_quant_type", "fp4") if stored.get("load_in_4bit") else "int8"
    dtype = config.get("dtype") or config.get("torch_dtype")
    source = "the base is stored quantised"
    return Quantization(kind, bool(stored.get("bnb_4bit_use_double_quant")), 64, dtype, frozenset(), source)
