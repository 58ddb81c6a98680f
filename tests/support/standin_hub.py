"""A stand-in for the Hugging Face hub's HTTP interface: it takes real uploads, byte for byte, and keeps them.

It answers what huggingface_hub asks for when a folder is uploaded (its `_commit_api.py` and `lfs.py`): making the
repository, checking the card, the list of files to send, the git-lfs batch, the bytes of each large file, the commit. A
request without the right token is refused as the hub refuses it.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import yaml

LARGE = (".safetensors", ".json.large")
COMMIT = "c" * 40


@dataclass
class Hub:
    """What has arrived: ``files`` of the last commit by path, ``large`` by SHA-256, ``visibility`` by repository."""

    token: str
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    large: dict[str, bytes] = field(default_factory=dict)
    visibility: dict[str, str] = field(default_factory=dict)
    branches: set[str] = field(default_factory=lambda: {"main"})
    requests: list[str] = field(default_factory=list)
    messages: list[str] = field(default_factory=list)
    broken_uploads: bool = False
    cut: str | None = None  # requests whose path has this get no answer: the connection ends


def refuse_card(text: str) -> str | None:
    """Why the hub would not take this card's metadata, or None."""
    if not text.startswith("---\n"):
        return None
    metadata = yaml.safe_load(text.split("---\n")[1])
    for key in ("license", "library_name", "pipeline_tag"):
        if not isinstance(metadata.get(key, ""), str):
            return f'"{key}" must be a string'
    if "base_model" in metadata and metadata["base_model"].count("/") != 1:
        return '"base_model" with value that is not a valid model id'
    return None


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def log_message(self, *_: Any) -> None: ...

    def parse_request(self) -> bool:
        going = super().parse_request()
        if going and self.hub.cut is not None and self.hub.cut in self.path:
            self.close_connection = True
            return False
        return going

    def body(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length") or 0))

    def answer(self, status: int, data: Any = None) -> None:
        text = json.dumps(data if data is not None else {}).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def allowed(self) -> bool:
        self.hub.requests.append(f"{self.command} {self.path}")
        return self.headers.get("Authorization") == f"Bearer {self.hub.token}"

    def do_POST(self) -> None:
        body, path = self.body(), self.path.partition("?")[0]
        if not self.allowed():
            return self.answer(401, {"error": "Invalid credentials in Authorization header"})
        if path == "/api/repos/create":
            asked = json.loads(body)
            name = f"{asked['organization']}/{asked['name']}"
            known = name in self.hub.visibility
            self.hub.visibility.setdefault(name, asked.get("visibility", "public"))
            return self.answer(409 if known else 200, {"url": f"{self.hub.url}/{name}", "error": "exists"})
        if path == "/api/validate-yaml":
            problem = refuse_card(json.loads(body)["content"])
            errors = [{"message": problem}] if problem else []
            return self.answer(400 if problem else 200, {"errors": errors, "warnings": []})
        if "/preupload/" in path:
            asked = json.loads(body)["files"]
            mode = [("lfs" if file["path"].endswith(LARGE) else "regular") for file in asked]
            files = [
                {"path": file["path"], "uploadMode": how, "shouldIgnore": False}
                for file, how in zip(asked, mode, strict=True)
            ]
            return self.answer(200, {"files": files})
        if path.endswith(".git/info/lfs/objects/batch"):
            objects = []
            for entry in json.loads(body)["objects"]:
                upload = {"upload": {"href": f"{self.hub.url}/store/{entry['oid']}"}}
                objects.append({**entry, **({} if entry["oid"] in self.hub.large else {"actions": upload})})
            return self.answer(200, {"transfer": "basic", "objects": objects})
        if "/branch/" in path:
            self.hub.branches.add(path.rpartition("/")[2])
            return self.answer(201)
        if "/commit/" in path:
            return self.commit(body, path.rpartition("/")[2])
        return self.answer(404, {"error": f"no {path} here"})

    def commit(self, body: bytes, branch: str) -> None:
        if branch not in self.hub.branches:
            return self.answer(404, {"error": f"no branch {branch}"})
        arrived = {}
        for line in body.splitlines():
            item = json.loads(line)
            value = item["value"]
            if item["key"] == "header":
                self.hub.messages.append(value["summary"])
            elif item["key"] == "file":
                arrived[value["path"]] = base64.b64decode(value["content"])
            elif item["key"] == "lfsFile":
                if value["oid"] not in self.hub.large:
                    return self.answer(400, {"error": f"{value['path']} never arrived"})
                arrived[value["path"]] = self.hub.large[value["oid"]]
        self.hub.files.update(arrived)
        return self.answer(200, {"commitUrl": f"{self.hub.url}/org/name/commit/{COMMIT}", "commitOid": COMMIT})

    def do_PUT(self) -> None:
        """The store that large files go to: it is given no token, and holds each file against its SHA-256."""
        self.hub.requests.append(f"{self.command} {self.path}")
        body, digest = self.body(), self.path.rpartition("/")[2]
        if self.hub.broken_uploads or hashlib.sha256(body).hexdigest() != digest:
            return self.answer(400, {"error": "broken"})
        self.hub.large[digest] = body
        return self.answer(200)


@contextmanager
def standin_hub(token: str) -> Iterator[Hub]:
    """A hub on a free port of this machine that knows one token."""
    hub = Hub(token)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"hub": hub}))
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
