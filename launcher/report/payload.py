"""Numbers inside a page: JSON, gzipped, in base64. A hundred thousand events take some two megabytes so."""

from __future__ import annotations

import base64
import gzip
import json
from typing import Any


def pack(data: Any) -> str:
    """``data`` as the text that the page's script unpacks; the same data gives the same text."""
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=6, mtime=0)).decode("ascii")


def unpack(text: str) -> Any:
    """What `pack` was given."""
    return json.loads(gzip.decompress(base64.b64decode(text)))
