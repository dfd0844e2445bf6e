"""Notifications: one stream of job and model events, webhook endpoints and deliveries.

Events that are there get their ids in the order in which they happened. None is below the id that a job's
event had: a caller who goes on from such an id may get some twice and misses none.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

SCHEMA = "training"
_JSON = postgresql.JSONB(astext_type=sa.Text())
_NOW = sa.text("now()")

# Nobody may add an event between the copy and the triggers.
_LOCK = "lock table training.job_event, training.model_event in share row exclusive mode"
# A running maximum keeps the order of each table, whatever the clock did; another keeps every id at or above
# that of its job's event.
_COPY = """
insert into training.event (id, name, job_id, job_kind, model, owner, job_event_id, model_event_id)
select place + greatest(0, max(coalesce(job_event_id, 0) - place) over (order by place)),
    name, job_id, job_kind, model, owner, job_event_id, model_event_id
from (
    select row_number() over (order by at, job_event_id, model_event_id) as place, either.*
    from (
        select e.name, e.job_id, j.kind as job_kind, j.spec->'model'->>'name' as model, j.owner,
            e.id as job_event_id, null::bigint as model_event_id, max(e.created_at) over (order by e.id) as at
        from training.job_event e join training.job j on j.id = e.job_id
        union all
        select m.kind, m.job_id, null, m.model, null, null, m.id, max(m.at) over (order by m.id)
        from training.model_event m
    ) either
) every_event
"""
_GO_ON = """
select setval(
    pg_get_serial_sequence('training.event', 'id'),
    (select coalesce(max(id), 0) + 1 from training.event),
    false
)
"""
# The lock is held from the end of a transaction's work until others see it; nothing is waited for meanwhile.
_FUNCTIONS = """
create function training.publish_job_event() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('training.event', 0));
    insert into training.event (name, job_id, job_kind, model, owner, job_event_id)
    select e.name, e.job_id, j.kind, j.spec->'model'->>'name', j.owner, e.id
    from training.job_event e join training.job j on j.id = e.job_id
    where e.id = new.id;
    perform pg_notify('heimdall_events', '');
    return null;
end $$;
create function training.publish_model_event() returns trigger language plpgsql as $$
begin
    perform pg_advisory_xact_lock(hashtextextended('training.event', 0));
    insert into training.event (name, job_id, model, model_event_id)
    select m.kind, m.job_id, m.model, m.id from training.model_event m where m.id = new.id;
    perform pg_notify('heimdall_events', '');
    return null;
end $$;
create constraint trigger publish after insert on training.job_event
    deferrable initially deferred for each row execute function training.publish_job_event();
create constraint trigger publish after insert on training.model_event
    deferrable initially deferred for each row execute function training.publish_model_event();
"""


def upgrade() -> None:
    _create_event()
    op.execute(_LOCK)
    op.execute(_COPY)
    op.execute(_GO_ON)
    op.execute(_FUNCTIONS)
    _create_endpoint()
    _create_delivery()
    op.create_table(
        "webhook_cursor",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("event_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_webhook_cursor")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    for table in ("webhook_cursor", "webhook_delivery", "webhook_endpoint"):
        op.drop_table(table, schema=SCHEMA)
    for table in ("job_event", "model_event"):
        op.execute(f"drop trigger publish on training.{table}")
        op.execute(f"drop function training.publish_{table}()")
    op.drop_table("event", schema=SCHEMA)


def _create_event() -> None:
    op.create_table(
        "event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("job_kind", sa.Text()),
        sa.Column("model", sa.Text()),
        sa.Column("owner", sa.Text()),
        sa.Column("job_event_id", sa.BigInteger()),
        sa.Column("model_event_id", sa.BigInteger()),
        sa.CheckConstraint("num_nonnulls(job_event_id, model_event_id) = 1", name=op.f("ck_event_source")),
        sa.ForeignKeyConstraint(
            ["job_event_id"],
            ["training.job_event.id"],
            name=op.f("fk_event_job_event_id"),
            ondelete="cascade",
        ),
        sa.ForeignKeyConstraint(
            ["model_event_id"],
            ["training.model_event.id"],
            name=op.f("fk_event_model_event_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sa.UniqueConstraint("job_event_id", name=op.f("uq_event_job_event_id")),
        sa.UniqueConstraint("model_event_id", name=op.f("uq_event_model_event_id")),
        schema=SCHEMA,
    )
    for column in ("job", "owner", "model"):
        name = "job_id" if column == "job" else column
        op.create_index(f"ix_event_{column}", "event", [name, "id"], schema=SCHEMA)


def _create_endpoint() -> None:
    op.create_table(
        "webhook_endpoint",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("events", postgresql.ARRAY(sa.Text()), nullable=False),
        sa.Column("kinds", postgresql.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("all_owners", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("sees_models", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("former_secret", sa.Text()),
        sa.Column("former_secret_until", sa.DateTime(timezone=True)),
        sa.Column("after_event_id", sa.BigInteger(), nullable=False),
        sa.Column("disabled_at", sa.DateTime(timezone=True)),
        sa.Column("disabled_reason", sa.Text()),
        sa.Column("last_success_at", sa.DateTime(timezone=True)),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoint")),
        schema=SCHEMA,
    )
    op.create_index("ix_webhook_endpoint_page", "webhook_endpoint", ["created_at", "id"], schema=SCHEMA)


def _create_delivery() -> None:
    op.create_table(
        "webhook_delivery",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("endpoint_id", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("num_attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("attempts_before", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_attempt_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("attempts", _JSON, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True)),
        sa.CheckConstraint(
            "status in ('pending','succeeded','failed')", name=op.f("ck_webhook_delivery_status")
        ),
        sa.ForeignKeyConstraint(
            ["endpoint_id"],
            ["training.webhook_endpoint.id"],
            name=op.f("fk_webhook_delivery_endpoint_id"),
            ondelete="cascade",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_delivery")),
        sa.UniqueConstraint("endpoint_id", "message_id", name=op.f("uq_webhook_delivery_endpoint_id")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_webhook_delivery_due",
        "webhook_delivery",
        ["endpoint_id", "next_attempt_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'pending'"),
    )
    op.create_index(
        "ix_webhook_delivery_page",
        "webhook_delivery",
        ["endpoint_id", "created_at", "id"],
        schema=SCHEMA,
    )
