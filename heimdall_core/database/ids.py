"""Identifiers: a type prefix and 120 random bits."""

import base64
import secrets

#: What a path parameter of the API must match.
ID_PATTERN = r"^[a-z]+_[a-z2-7]{24}$"


def new_id(prefix: str) -> str:
    """For example ``job_x4r2...``: lower-case base32, safe in URLs, keys and file names."""
    return f"{prefix}_{base64.b32encode(secrets.token_bytes(15)).decode().lower()}"
