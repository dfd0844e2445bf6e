"""Signed-in browsers, and the audit log, which is only ever added to: ours."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Identity, Index, func, text
from sqlalchemy.orm import Mapped, mapped_column

from heimdall_core.database.base import Base, JsonObject


class WebSession(Base):
    """A browser that is signed in with a key; of its token only the SHA-256 is kept."""

    __tablename__ = "web_session"

    id: Mapped[str] = mapped_column(primary_key=True)
    key_id: Mapped[str] = mapped_column(ForeignKey("training.api_key.id", ondelete="cascade"), index=True)
    sha256: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime] = mapped_column(index=True)


class AuditEntry(Base):
    """Who did what; a trigger refuses to change or delete a row."""

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("ix_audit_log_at_id", "at", "id"),
        Index("ix_audit_log_actor_id", "actor", "id"),
        Index("ix_audit_log_target_id", "target", "id"),
    )

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime] = mapped_column(server_default=func.now())
    #: The owner whose key or token it was; of a refused sign-in ``anonymous``.
    actor: Mapped[str]
    #: Null: a token, or nobody.
    key_id: Mapped[str | None]
    action: Mapped[str]
    #: Path of the resource, such as ``/v1/jobs/job_...``.
    target: Mapped[str | None]
    request_id: Mapped[str | None]
    #: Address of the client, as the server sees it.
    client: Mapped[str | None]
    detail: Mapped[JsonObject] = mapped_column(server_default=text("'{}'"))
