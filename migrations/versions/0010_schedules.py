"""Schedules and triggers of retrainings.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SCHEMA = "training"
_JSON = postgresql.JSONB(astext_type=sa.Text())
_NOW = sa.text("now()")


def upgrade() -> None:
    _create_schedule()
    _create_drift_score()


def downgrade() -> None:
    op.drop_table("drift_score", schema=SCHEMA)
    op.drop_table("schedule", schema=SCHEMA)


def _create_schedule() -> None:
    op.create_table(
        "schedule",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("condition", _JSON, nullable=False),
        sa.Column("retrain", _JSON, nullable=False),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("min_interval_seconds", sa.Integer(), server_default="0", nullable=False),
        sa.Column("occurrence_at", sa.DateTime(timezone=True)),
        sa.Column("next_run_at", sa.DateTime(timezone=True)),
        sa.Column("last_run_at", sa.DateTime(timezone=True)),
        sa.Column("last_outcome", _JSON),
        sa.Column("job_id", sa.Text()),
        sa.Column("counts_from", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("catalogue_state", sa.Text()),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.CheckConstraint("kind in ('cron','new_sessions','drift')", name=op.f("ck_schedule_kind")),
        sa.CheckConstraint(
            "(next_run_at is null) = (occurrence_at is null)", name=op.f("ck_schedule_occurrence")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["training.job.id"], name=op.f("fk_schedule_job_id"), ondelete="set null"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_schedule")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_schedule_due",
        "schedule",
        ["next_run_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("enabled and next_run_at is not null"),
    )
    op.create_index(
        "ix_schedule_drift",
        "schedule",
        ["model"],
        schema=SCHEMA,
        postgresql_where=sa.text("enabled and kind = 'drift'"),
    )
    op.create_index("ix_schedule_page", "schedule", ["created_at", "id"], schema=SCHEMA)


def _create_drift_score() -> None:
    op.create_table(
        "drift_score",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("observed_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("source", sa.Text(), server_default="", nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=_NOW, nullable=False),
        sa.ForeignKeyConstraint(
            ["model"], ["training.model.name"], name=op.f("fk_drift_score_model"), ondelete="cascade"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drift_score")),
        sa.UniqueConstraint("model", "source", "observed_at", name=op.f("uq_drift_score_model")),
        schema=SCHEMA,
    )
    op.create_index(
        "ix_drift_score_model_observed_at", "drift_score", ["model", "observed_at", "id"], schema=SCHEMA
    )
