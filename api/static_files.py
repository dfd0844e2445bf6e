"""Scripts, styles and pictures of the pages: compressed, and kept by browsers until one of them changes.

``/static/<digest>/...`` is the same as ``/static/...``. The digest is of all files together: what lies there
may be kept for ever, and so may the modules that a module imports by relative paths.
"""

import gzip
import hashlib
import os
import re
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from anyio import to_thread
from starlette.datastructures import Headers
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

STATIC_DIR: Final = Path(__file__).parent / "dashboard" / "static"
_PLOTLY: Final = "plotly.min.js"
_DIGEST: Final = re.compile(r"([0-9a-f]{16})/(.*)", re.DOTALL)
_COMPRESSED: Final = {".js", ".css", ".svg"}
_FOR_EVER: Final = "public, max-age=31536000, immutable"
_REVALIDATED: Final = "no-cache"


def static_digest() -> str:
    """Of the names and contents of all files that are served."""
    digest = hashlib.sha256(version("plotly").encode())
    for path in sorted(STATIC_DIR.rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(STATIC_DIR)}\n{path.stat().st_size}\n".encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


STATIC_DIGEST: Final = static_digest()


class VersionedFiles(StaticFiles):
    """The files of the pages, and plotly's script out of its own distribution."""

    def __init__(self) -> None:
        super().__init__(directory=STATIC_DIR)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file; with the digest of today before its name it may be kept for ever."""
        match = _DIGEST.fullmatch(path)
        response = await super().get_response(match[2] if match else path, scope)
        if isinstance(response, FileResponse) and _takes_gzip(scope, response):
            response = await to_thread.run_sync(_compressed, response)
        is_of_today = match is not None and match[1] == STATIC_DIGEST
        response.headers["Cache-Control"] = _FOR_EVER if is_of_today else _REVALIDATED
        response.headers["Vary"] = "Accept-Encoding"
        return response

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where the file lies; plotly's is not in the folder."""
        if path != _PLOTLY:
            return super().lookup_path(path)
        script = plotly_script()
        return str(script), script.stat()


@lru_cache(maxsize=1)
def plotly_script() -> Path:
    """plotly.js as its Python distribution brings it; nothing of the package is imported."""
    spec = find_spec("plotly")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "package_data" / _PLOTLY


def _takes_gzip(scope: Scope, response: FileResponse) -> bool:
    accepted = Headers(scope=scope).get("accept-encoding", "")
    return "gzip" in accepted and Path(response.path).suffix in _COMPRESSED


def _compressed(file: FileResponse) -> Response:
    path = str(file.path)
    response = Response(_gzip(path, Path(path).stat().st_mtime_ns), media_type=file.media_type)
    response.headers["Content-Encoding"] = "gzip"
    for name in ("ETag", "Last-Modified"):
        response.headers[name] = file.headers[name]
    response.headers["ETag"] = f"W/{file.headers['ETag']}"
    return response


@lru_cache(maxsize=200)
def _gzip(path: str, _changed_ns: int) -> bytes:
    return gzip.compress(Path(path).read_bytes(), mtime=0)
