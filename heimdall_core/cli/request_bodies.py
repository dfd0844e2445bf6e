"""Requests that a person wrote into a file."""

import json
import sys
from pathlib import Path

from heimdall_core.cli.client import Json
from heimdall_core.domain.errors import InvalidRequest


def read_body(file: Path) -> Json:
    """The JSON object of a file; ``-`` reads stdin.

    Raises:
        InvalidRequest: it cannot be read, or is no JSON object.
    """
    try:
        body = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text())
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"cannot read {file}: {error}") from error
    if not isinstance(body, dict):
        raise InvalidRequest(f"{file} holds no JSON object")
    return body
