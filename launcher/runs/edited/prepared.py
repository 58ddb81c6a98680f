"""A run of an edited config that could start: the config goes in byte for byte, with what it trains on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from launcher.data.prepare import prepare_data
from launcher.files import sha256_file, write_atomic
from launcher.runs.edited.data import DataFile, copy_data, write_sample
from launcher.runs.prepared import Prepared


@dataclass(frozen=True)
class PreparedEdited(Prepared):
    """A run of an edited config, on the files that it names or on ``raw``: the person's own, split for this run."""

    data_files: tuple[DataFile, ...] = ()
    raw: RawData | None = None

    @property
    def data_source(self) -> dict[str, Any]:
        path = self.raw.path if self.raw else next(item.source for item in self.data_files if item.trains)
        return {"path": str(path.resolve()), "sha256": sha256_file(path)}

    def write(self, folder: Path) -> dict[str, Any]:
        for name, text in self.files.items():
            write_atomic(folder / name, text)
        if self.raw:
            written = self.raw.write(folder)
            write_sample([replace(item, source=folder / item.target) for item in self.data_files], folder, chat=True)
            return written
        written = copy_data(self.data_files, folder, chat=self.plan.conversational)
        evaluation = self.plan.eval_rows or 0
        total = sum(item.rows for item in self.data_files)
        return {"train_rows": total - evaluation, "eval_rows": evaluation, "excess": self.excess, **written}


@dataclass(frozen=True)
class RawData:
    """Rows given with ``--data``, which become data/train.jsonl and data/eval.jsonl as in any other launch."""

    path: Path
    eval_fraction: float
    seed: int
    sequence_len: int
    excess_length: Any
    chat_template: str
    base: Path | None
    golden: Path | None
    allow_overlap: bool

    def write(self, folder: Path) -> dict[str, Any]:
        """Write the files into ``folder``. Raises BadInput with every row that cannot be trained on."""
        return prepare_data(
            self.path,
            folder,
            eval_fraction=self.eval_fraction,
            seed=self.seed,
            sequence_len=self.sequence_len,
            excess_length=self.excess_length,
            chat_template=self.chat_template,
            base=self.base,
            golden=self.golden,
            allow_overlap=self.allow_overlap,
        ).to_dict()
