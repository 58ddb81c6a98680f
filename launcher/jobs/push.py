"""Worker job ``push``: upload a folder to a model repository of the Hugging Face hub, in one commit.

The token is huggingface_hub's own business (HF_TOKEN, or what `hf auth login` stored): it is never in a request, a
result or a message of ours.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from launcher.errors import RunFailed
from launcher.records.jobs import Emit, PushedFiles, PushRequest

# Files that name folders of this machine, and the ending of the keys that do.
NAMING = {"merge.json": "_path", "adapter_config.json": "base_model_name_or_path"}
# What the trainers and the merge leave beside what is to be shipped.
IGNORED = ["optimizer.pt", "*.tmp", ".*", "*/.*"]
SIGN_IN = "set HF_TOKEN to a token that may write, or sign in with `hf auth login`"


def run(request: PushRequest, emit: Emit) -> PushedFiles:
    """Send the folder, and tell where it is now.

    The repository is made when there is none. Nothing shows in it before all files have arrived. Raises RunFailed:
    no token, not allowed, not reachable, refused.
    """
    from httpx import HTTPError  # huggingface_hub lets a connection that was cut come through as it is
    from huggingface_hub import CommitOperationAdd, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError
    from huggingface_hub.utils._paths import filter_repo_objects

    folder, repo = Path(request.folder), request.repo
    if get_token() is None:
        raise RunFailed("there is no token for the hub", hint=SIGN_IN)
    files = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    files = list(filter_repo_objects(files, ignore_patterns=IGNORED))
    size = sum((folder / name).stat().st_size for name in files)
    emit({"event": "progress", "text": f"{len(files)} files, {size / 1e6:,.1f} MB, to {repo}"})
    api = HfApi()
    try:
        api.create_repo(repo, repo_type="model", private=request.private, exist_ok=True)
        if request.revision:
            api.create_branch(repo, branch=request.revision, exist_ok=True)
        commit = api.create_commit(
            repo,
            [CommitOperationAdd(name, _content(folder / name)) for name in files],
            commit_message=request.message,
            revision=request.revision,
        )
    except HFValidationError as error:
        raise RunFailed(f"{repo} cannot be a repository's name: {error}", hint="OWNER/NAME") from None
    except HfHubHTTPError as error:
        raise _refused(error, repo) from None
    except (OSError, RuntimeError, ValueError, HTTPError) as error:  # no connection, or one file's upload failed
        cause = error.__cause__ or error
        hint = "run it again: what has arrived is not sent twice"
        raise RunFailed(f"the upload to {repo} failed: {_first_line(cause)}", hint=hint) from None
    return PushedFiles(url=str(commit.repo_url), commit=commit.oid, files=files, bytes=size)


def _content(path: Path) -> str | bytes:
    """What is sent: the file, or where it names folders of this machine, the same with their last names alone."""
    ending = NAMING.get(path.name)
    if ending is None:
        return str(path)
    said = json.loads(path.read_text(encoding="utf-8"))
    local = [key for key, value in said.items() if key.endswith(ending) and Path(str(value)).is_absolute()]
    said |= {key: Path(said[key]).name for key in local}
    return (json.dumps(said, indent=2, ensure_ascii=False) + "\n").encode()


def _refused(error: Any, repo: str) -> RunFailed:
    status = error.response.status_code if error.response is not None else 0
    said = error.server_message or _first_line(error)
    if status in (401, 403):
        return RunFailed(f"the hub does not let this token write to {repo}: {said}", hint=SIGN_IN)
    return RunFailed(f"the hub refused the upload to {repo} ({status}): {said}")


def _first_line(error: BaseException) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
