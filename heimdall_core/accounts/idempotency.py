"""Answers remembered by ``Idempotency-Key``, in the transaction of what they answer."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from heimdall_core.database.catalogue_tables import IdempotencyRecord
from heimdall_core.domain.errors import Conflict, InvalidRequest

#: A String of structured fields (RFC 9651, 3.3.3): quoted, with ``\\"`` and ``\\\\`` within.
_STRING = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])+)"')
_BARE = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")
_ESCAPED = re.compile(r'\\(["\\])')
MAX_KEY_CHARS = 255


def read_key(header: str) -> str:
    """The key that an ``Idempotency-Key`` header states: a structured-field String, or the bare key.

    Raises:
        InvalidRequest: it is neither, or too long.
    """
    text = header.strip(" ")
    match = _STRING.fullmatch(text)
    key = _ESCAPED.sub(r"\1", match[1]) if match else text
    if len(key) > MAX_KEY_CHARS or not (match or _BARE.fullmatch(text)):
        raise InvalidRequest(
            f"the Idempotency-Key is no quoted string of 1 to {MAX_KEY_CHARS} printable ASCII characters",
            code="bad_idempotency_key",
            hint='Send for example: Idempotency-Key: "8e03978e-40d5-43dd-bc93-6894a57f9324"',
        )
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request was answered."""

    status_code: int
    body: dict[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


def recall_answer(session: Session, *, owner: str, key: str, request_hash: str) -> Answer | None:
    """The former answer, or None: then the key is this transaction's until it ends.

    Raises:
        Conflict: another request with the key is at work right now.
        InvalidRequest: the key came with another request before.
    """
    _lock(session, f"{owner} {key}")
    record = session.get(IdempotencyRecord, (owner, key))
    if record is None:
        return None
    if record.request_hash != request_hash:
        raise InvalidRequest(
            "this Idempotency-Key came with another request before",
            code="idempotency_key_reused",
            hint="Use a new key for a new request.",
        )
    return Answer(status_code=record.status_code, body=record.body, headers=record.headers)


def remember_answer(session: Session, answer: Answer, *, owner: str, key: str, request_hash: str) -> None:
    """Keeps the answer for the next request with the key."""
    record = IdempotencyRecord(
        owner=owner,
        key=key,
        request_hash=request_hash,
        status_code=answer.status_code,
        headers=dict(answer.headers),
        body=answer.body,
    )
    session.add(record)


def _lock(session: Session, name: str) -> None:
    lock = func.pg_try_advisory_xact_lock(func.hashtextextended(name, 0))
    if not session.execute(select(lock)).scalar_one():
        raise Conflict(
            "a request with this Idempotency-Key is being answered",
            code="idempotency_key_in_use",
            hint="Repeat the request in a moment; it will get the same answer.",
        )
