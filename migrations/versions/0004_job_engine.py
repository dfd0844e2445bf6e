"""The job engine: requests to pause and finish, limits, fair share, routing, drain, retention, retraining.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

SCHEMA = "training"
_TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    for column in (
        sa.Column("min_memory_bytes", sa.BigInteger()),
        sa.Column("coalesce_key", sa.Text()),
        sa.Column("pause_requested_at", _TIME),
        sa.Column("finish_requested_at", _TIME),
        sa.Column("queued_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.Column("max_pending_seconds", sa.Integer()),
        sa.Column("max_runtime_seconds", sa.Integer()),
        sa.Column("preemptions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("runtime_seconds", sa.Double(), server_default="0", nullable=False),
        sa.Column(
            "adjustments",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
    ):
        op.add_column("job", column, schema=SCHEMA)
    op.execute("update training.job set queued_at = created_at")
    queued = sa.text("status = 'queued'")
    op.create_index(
        "ix_job_claim_owner",
        "job",
        ["owner", sa.text("priority_rank desc"), "created_at", "id"],
        schema=SCHEMA,
        postgresql_where=queued,
    )
    op.create_index(
        "ix_job_coalesce",
        "job",
        ["coalesce_key"],
        unique=True,
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'queued' and coalesce_key is not null"),
    )
    op.create_index(
        "ix_job_succeeded",
        "job",
        ["kind", sa.text("finished_at desc")],
        schema=SCHEMA,
        postgresql_where=sa.text("status = 'succeeded'"),
    )
    op.add_column(
        "checkpoint",
        sa.Column("at_epoch_end", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        schema=SCHEMA,
    )
    op.add_column("checkpoint", sa.Column("retired_at", _TIME), schema=SCHEMA)
    op.add_column(
        "worker", sa.Column("light_slots", sa.Integer(), server_default="0", nullable=False), schema=SCHEMA
    )
    op.add_column("worker", sa.Column("memory_bytes", sa.BigInteger()), schema=SCHEMA)
    op.add_column("worker", sa.Column("kinds", postgresql.ARRAY(sa.Text())), schema=SCHEMA)
    op.add_column("worker", sa.Column("draining_at", _TIME), schema=SCHEMA)
    op.create_table(
        "retrain_request",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("dedupe_key", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("created_at", _TIME, server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training.job.id"], name=op.f("fk_retrain_request_job_id"), ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("model", "dedupe_key", name=op.f("pk_retrain_request")),
        schema=SCHEMA,
    )


def downgrade() -> None:
    op.drop_table("retrain_request", schema=SCHEMA)
    for table, columns in {
        "worker": ("draining_at", "kinds", "memory_bytes", "light_slots"),
        "checkpoint": ("retired_at", "at_epoch_end"),
    }.items():
        for column in columns:
            op.drop_column(table, column, schema=SCHEMA)
    op.drop_index("ix_job_succeeded", "job", schema=SCHEMA)
    op.drop_index("ix_job_coalesce", "job", schema=SCHEMA)
    op.drop_index("ix_job_claim_owner", "job", schema=SCHEMA)
    for column in (
        "adjustments",
        "runtime_seconds",
        "preemptions",
        "max_runtime_seconds",
        "max_pending_seconds",
        "queued_at",
        "finish_requested_at",
        "pause_requested_at",
        "coalesce_key",
        "min_memory_bytes",
    ):
        op.drop_column("job", column, schema=SCHEMA)
