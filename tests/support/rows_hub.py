"""A stand-in for the hub's HTTP interface that serves one data set, as huggingface_hub and datasets ask for it."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "org/tickets"
SHA = "a" * 40


class RowsHandler(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def log_message(self, *_: object) -> None: ...

    def answer(self, status: int, data: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(len(data)), **(headers or {})}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def as_json(self, data: object) -> None:
        self.answer(200, json.dumps(data).encode(), {"Content-Type": "application/json"})

    def entries(self, names: list[str]) -> list[dict[str, object]]:
        found = [(name, self.files[name]) for name in names if name in self.files]
        return [
            {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
            for name, data in found
        ]

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        api = f"/api/datasets/{NAME}"
        if path == api or path.startswith(f"{api}/revision/"):
            return self.as_json({"id": NAME, "sha": SHA, "siblings": [{"rfilename": name} for name in self.files]})
        if path.startswith(f"{api}/tree/"):
            return self.as_json(self.entries(list(self.files)))
        if path.startswith(f"/datasets/{NAME}/resolve/"):
            name = path.split("/resolve/")[1].partition("/")[2]
            if name not in self.files:
                return self.answer(404, b"{}", {"X-Error-Code": "EntryNotFound"})
            digest = hashlib.sha1(self.files[name]).hexdigest()
            return self.answer(200, self.files[name], {"ETag": f'"{digest}"', "X-Repo-Commit": SHA})
        return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        self.as_json(self.entries(asked.get("paths", [])))


@contextmanager
def rows_hub(files: dict[str, bytes]) -> Iterator[str]:
    """The address of a hub on a free port of this machine that has the data set `NAME` with these files."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (RowsHandler,), {"files": files}))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
