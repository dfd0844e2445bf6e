"""Signing secrets of webhooks: made here, and kept so that they can be read: both sides need them."""

import base64
import hashlib
import secrets
from typing import TYPE_CHECKING

from pydantic import SecretStr

from heimdall_core.domain.errors import InfrastructureError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

PREFIX = "whsec_"
_NUM_BYTES = 32
_SEALED = "fernet:"


def make_secret() -> str:
    """A new secret: ``whsec_`` and 256 random bits in base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(_NUM_BYTES)).decode()


class SecretBox:
    """Encrypts secrets for the database (Fernet: AES-128-CBC and HMAC-SHA256); without a key it does not."""

    def __init__(self, key: SecretStr | None) -> None:
        self._fernet = None if key is None else _fernet(key)

    def seal(self, secret: str) -> str:
        """The form that the database keeps."""
        if self._fernet is None:
            return secret
        return _SEALED + self._fernet.encrypt(secret.encode()).decode()

    def unseal(self, kept: str) -> str:
        """The secret itself.

        Raises:
            InfrastructureError: it was encrypted with a key that this process has not.
        """
        if not kept.startswith(_SEALED):
            return kept
        from cryptography.fernet import InvalidToken

        try:
            if self._fernet is not None:
                return self._fernet.decrypt(kept.removeprefix(_SEALED)).decode()
        except InvalidToken:
            pass
        raise InfrastructureError(
            "the signing secret is encrypted with another key",
            code="webhook_secret_unreadable",
            hint="Add the former key to HEIMDALL_WEBHOOKS__SECRET_KEY, or rotate the secret of the endpoint.",
        )


def _fernet(key: SecretStr) -> "MultiFernet":
    from cryptography.fernet import Fernet, MultiFernet

    parts = [part.strip() for part in key.get_secret_value().split(",")]
    digests = [hashlib.sha256(part.encode()).digest() for part in parts]
    return MultiFernet([Fernet(base64.urlsafe_b64encode(digest)) for digest in digests])
