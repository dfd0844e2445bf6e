"""Several requests at once: who sent them, what the log keeps of them, which answers are remembered."""

import json
import secrets
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, cast

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnClause,
    Insert,
    Select,
    Table,
    TableValuedAlias,
    Text,
    any_,
    bindparam,
    column,
    func,
    insert,
    or_,
    select,
    tuple_,
)
from sqlalchemy import cast as sql_cast
from sqlalchemy.orm import Session

from heimdall_core.accounts.audit import Circumstances
from heimdall_core.accounts.idempotency import Answer
from heimdall_core.accounts.keys import PREFIX_CHARS, UNNOTED, authenticate, fingerprint
from heimdall_core.accounts.principal import Principal
from heimdall_core.database import Database
from heimdall_core.database.account_tables import AuditEntry
from heimdall_core.database.catalogue_tables import ApiKey, IdempotencyRecord
from heimdall_core.domain.errors import Unauthenticated

OwnedKey = tuple[str, str]
"""An owner, and an ``Idempotency-Key`` of its."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one of the requests has changed."""

    caller: Principal
    target: str
    circumstances: Circumstances


def find_callers(session: Session, keys: Collection[str]) -> dict[str, Principal]:
    """The holders of those of the keys that are good and were used a moment ago, by one statement."""
    by_prefix: dict[str, list[str]] = {}
    for key in keys:
        by_prefix.setdefault(key[:PREFIX_CHARS], []).append(key)
    found = {}
    for row in session.execute(_LOOK_UP, {"prefixes": list(by_prefix)}):
        for key in by_prefix[row.prefix]:
            if secrets.compare_digest(row.sha256, fingerprint(key)):
                found[key] = Principal(
                    owner=row.owner, key_id=row.id, scopes=frozenset(row.scopes), expires_at=row.expires_at
                )
    return found


_IS_LIVE: Final = (
    ApiKey.revoked_at.is_(None),
    or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > func.now()),
)
_LOOK_UP = select(
    ApiKey.id, ApiKey.owner, ApiKey.scopes, ApiKey.prefix, ApiKey.sha256, ApiKey.expires_at
).where(ApiKey.prefix == any_(bindparam("prefixes", type_=ARRAY(Text))), *_IS_LIVE, ~UNNOTED)


def authenticate_each(database: Database, keys: Collection[str]) -> dict[str, Principal]:
    """The holders of those of the keys that are good, by a statement for each; it notes their use."""
    found = {}
    with database.engine.connect() as connection:
        plain = connection.execution_options(isolation_level="AUTOCOMMIT")
        for key in keys:
            with suppress(Unauthenticated):
                found[key] = authenticate(plain, key)
    return found


def record_changes(session: Session, action: str, changes: Sequence[Change]) -> set[str]:
    """Adds their entries to the log, by one statement; the targets of those whose keys are valid still."""
    rows = [
        (
            change.caller.owner,
            change.caller.key_id,
            change.target,
            change.circumstances.request_id,
            change.circumstances.client,
        )
        for change in changes
    ]
    columns: dict[str, Any] = dict(zip(_CHANGED, map(list, zip(*rows, strict=True)), strict=True))
    return set(session.execute(_ADDITION, {**columns, "action": action}).scalars())


_CHANGED: Final = ("actor", "key_id", "target", "request_id", "client")


def _unnested(*names: str) -> TableValuedAlias:
    """Rows of texts, from one parameter for each column."""
    columns: list[ColumnClause[str]] = [column(name, Text) for name in names]
    arrays = (bindparam(name, type_=ARRAY(Text)) for name in names)
    return func.unnest(*arrays).table_valued(*columns).render_derived("given")


def _addition() -> Insert:
    given = _unnested(*_CHANGED)
    values = select(*(given.c[name] for name in _CHANGED), bindparam("action", type_=Text))
    live = values.join(ApiKey, ApiKey.id == given.c.key_id).where(*_IS_LIVE)
    table = cast("Table", AuditEntry.__table__)
    return insert(table).from_select([*_CHANGED, "action"], live).returning(table.c.target)


_ADDITION = _addition()


def claim_keys(session: Session, keys: Collection[OwnedKey]) -> set[OwnedKey]:
    """Those of the keys that are new, and the transaction's until it ends.

    The others belong to requests that are at work, or that were answered.
    """
    owners, names = zip(*keys, strict=True)
    parameters = {"owner": list(owners), "key": list(names)}
    locked = {(row.owner, row.key) for row in session.execute(_LOCK, parameters) if row.is_ours}
    answered = {(row.owner, row.key) for row in session.execute(_ANSWERED, parameters)}
    return locked - answered


def _lock() -> Select[Any]:
    given = _unnested("owner", "key")
    name = func.hashtextextended(given.c.owner + " " + given.c.key, 0)
    return select(given.c.owner, given.c.key, func.pg_try_advisory_xact_lock(name).label("is_ours"))


def _answered() -> Select[str, str]:
    given = _unnested("owner", "key")
    names = (IdempotencyRecord.owner, IdempotencyRecord.key)
    return select(*names).where(tuple_(*names).in_(select(given.c.owner, given.c.key)))


_LOCK, _ANSWERED = _lock(), _answered()


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedAnswer:
    """An answer to remember."""

    key: OwnedKey
    request_hash: str
    answer: Answer
    encoded: str
    """The body of the answer, as JSON."""


def remember_answers(session: Session, answers: Sequence[KeyedAnswer]) -> None:
    """Keeps them for the next requests with their keys, by one statement."""
    if answers:
        session.execute(_KEEPING, {"answers": f"[{','.join(map(_encode, answers))}]"})


def _encode(kept: KeyedAnswer) -> str:
    owner, key = kept.key
    head = {
        "owner": owner,
        "key": key,
        "request_hash": kept.request_hash,
        "status_code": kept.answer.status_code,
        "headers": dict(kept.answer.headers),
    }
    return f'{json.dumps(head)[:-1]}, "body": {kept.encoded}}}'


def _keeping() -> Insert:
    table = cast("Table", IdempotencyRecord.__table__)
    names = ("owner", "key", "request_hash", "status_code", "headers", "body")
    columns: list[ColumnClause[Any]] = [column(name, table.c[name].type) for name in names]
    # As an array of texts, every quotation mark in them would be escaped here.
    array = func.json_to_recordset(sql_cast(bindparam("answers", type_=Text), JSON))
    given = array.table_valued(*columns).render_derived("given", with_types=True)
    return insert(table).from_select(list(names), select(*(given.c[name] for name in names)))


_KEEPING = _keeping()
