"""Worker job ``fetch``: the local folder of a base model of the hub, downloaded when it is not in the cache."""

from __future__ import annotations

import json

from launcher.errors import RunFailed
from launcher.records.jobs import Emit, Fetched, FetchRequest

PATTERNS = ["*.safetensors", "*.json", "*.jinja", "tokenizer.model"]  # never pickled weights


def run(request: FetchRequest, emit: Emit) -> Fetched:
    """Where the model is on this machine now. Raises RunFailed: not reachable, not found, or gated and not granted."""
    from httpx import HTTPError  # huggingface_hub lets a connection that was cut come through as it is
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    name = request.base_model
    emit({"event": "progress", "text": f"base model {name}"})
    try:
        return Fetched(path=snapshot_download(name, allow_patterns=PATTERNS))
    except GatedRepoError:
        hint = "ask for access on its page and set HF_TOKEN, or choose an ungated base with --model"
        raise RunFailed(f"{name} is gated and this account has no access", hint=hint) from None
    except RepositoryNotFoundError:
        raise RunFailed(f"the hub has no model {name}", hint="a private one needs HF_TOKEN") from None
    except (LocalEntryNotFoundError, HfHubHTTPError, HTTPError, OSError, json.JSONDecodeError) as error:
        hint = f"download it where there is a network (`hf download {name}`), or give a folder with --model"
        raise RunFailed(f"{name} is not in the local cache and the hub cannot be reached: {error}", hint=hint) from None
