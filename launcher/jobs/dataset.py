"""Worker job ``dataset``: the rows of a data set of the hub, as JSON lines on this machine.

The library `datasets` of the trainer's python fetches them, or finds them in its cache.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from launcher.errors import RunFailed, Unreadable, did_you_mean
from launcher.files import replacing
from launcher.records.jobs import DatasetRequest, Emit, FetchedRows

TRAIN = ("train", "training")
_SECONDS = 30  # to wait for the hub


def run(request: DatasetRequest, emit: Emit) -> FetchedRows:
    """Write the rows to ``request.out``.

    Raises Unreadable where there is no such data set, configuration or split, RunFailed for a hub out of reach.
    """
    import datasets
    from huggingface_hub import constants

    datasets.disable_progress_bars()
    name = request.name
    emit({"event": "progress", "text": f"data set {name}"})
    if not constants.HF_HUB_OFFLINE:  # then what is in the cache is read
        _require_there(name)
    try:
        configs = datasets.get_dataset_config_names(name)
        wanted, part = request.config, request.split
        if wanted is None and part in configs and len(configs) > 1:  # NAME:CONFIG, of which it has one split
            wanted, part = part, None
        config = _chosen(wanted, configs, f"{name}: configuration", name)
        splits = datasets.get_dataset_split_names(name, config)
        split = _chosen(part, splits, f"{name}: split", f"{name}:{config}")
        rows = datasets.load_dataset(name, config, split=split)
    except (ConnectionError, OSError) as error:  # among them that it is not in the cache
        raise _unreachable(name, error) from None
    except (ValueError, RuntimeError, datasets.exceptions.DatasetsError) as error:
        raise Unreadable(f"{name}: the library datasets cannot read it: {_first_line(error)}") from None
    out = Path(request.out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with replacing(out) as stream:
        for row in _plain_rows(rows):
            stream.write(json.dumps(row, ensure_ascii=False, default=_said) + "\n")
    return FetchedRows(rows=len(rows), config=config, split=split, splits=list(splits))


def _require_there(name: str) -> None:
    """Ask the hub for the data set first: the library itself tells a hub out of reach in many ways."""
    from httpx import HTTPError
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    try:
        HfApi().dataset_info(name, timeout=_SECONDS)
    except GatedRepoError:
        hint = "ask for access on its page and set HF_TOKEN"
        raise Unreadable(f"the data set {name} is gated and this account has no access", hint=hint) from None
    except RepositoryNotFoundError:
        hint = "a file of that name is not here either; a private data set needs HF_TOKEN"
        raise Unreadable(f"the hub has no data set {name}", hint=hint) from None
    except (HfHubHTTPError, HTTPError, OSError) as error:
        raise _unreachable(name, error) from None


def _unreachable(name: str, error: Exception) -> RunFailed:
    hint = f"no file {name} is here; fetch the data set where there is a network, and give its file"
    return RunFailed(
        f"the data set {name} cannot be fetched, since the hub is out of reach: {_first_line(error)}", hint=hint
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__


def _chosen(wanted: str | None, there: list[str], what: str, prefix: str) -> str:
    """The one that is asked for, the only one, or the one called train or default."""
    if wanted is not None and wanted not in there:
        raise Unreadable(f"{what} {wanted!r} is not there", hint=did_you_mean(wanted, there))
    fitting = [wanted] if wanted is not None else [name for name in (*TRAIN, "default") if name in there]
    if not fitting and len(there) != 1:
        raise Unreadable(f"{what}: there are several: {', '.join(there[:12])}", hint=f"name one: {prefix}:NAME")
    return fitting[0] if fitting else there[0]


def _plain_rows(rows: Any) -> Iterator[dict[str, object]]:
    """The rows without what one type for a column adds; pictures and sounds are named, not unpacked."""
    for column, feature in rows.features.items():
        if hasattr(feature, "decode") and feature.decode:
            rows = rows.cast_column(column, type(feature)(decode=False))
    for row in rows:
        yield {key: _without_nulls(value) for key, value in row.items() if value is not None}


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return [_without_nulls(item) for item in value] if isinstance(value, list) else value


def _said(value: Any) -> str:
    return f"({len(value):,} bytes)" if isinstance(value, bytes) else str(value)
