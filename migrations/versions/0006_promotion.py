"""Promotion: previous champions, verifications, exports and lineage of versions, and events of models.

Versions that are registered already get their lineage from their jobs, and their verification from the parity
without which their export would have failed.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SCHEMA = "training"
_JSON = postgresql.JSONB(astext_type=sa.Text())

_LINEAGE = """
update training.model_version v
set origin = j.kind,
    parent_name = coalesce(j.spec->'init_from'->>'name', j.spec->'source'->'model'->>'name', s.name),
    parent_version = coalesce(
        (j.spec->'init_from'->>'version')::integer,
        (j.spec->'source'->'model'->>'version')::integer,
        s.version
    )
from training.job j
left join training.model_version s on s.job_id = j.spec->'source'->>'job_id'
where j.id = v.job_id
"""
_VERIFICATION = """
update training.model_version
set verification = facts->'onnx_parity' || '{"passed": true}'
where jsonb_typeof(facts->'onnx_parity') = 'object'
"""


def upgrade() -> None:
    op.add_column("model", sa.Column("previous_version", sa.Integer()), schema=SCHEMA)
    for column in (
        sa.Column("verification", _JSON),
        sa.Column("exports", _JSON, server_default=sa.text("'[]'"), nullable=False),
        sa.Column("origin", sa.Text(), server_default="train", nullable=False),
        sa.Column("parent_name", sa.Text()),
        sa.Column("parent_version", sa.Integer()),
        sa.Column("promotion", _JSON),
    ):
        op.add_column("model_version", column, schema=SCHEMA)
    op.execute(_LINEAGE)
    op.execute(_VERIFICATION)
    op.create_table(
        "model_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("former_version", sa.Integer()),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text()),
        sa.Column("reason", sa.Text()),
        sa.Column("forced", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("verdict", _JSON),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["training.model.name"], name=op.f("fk_model_event_model")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_event")),
        schema=SCHEMA,
    )
    op.create_index("ix_model_event_model_id", "model_event", ["model", "id"], schema=SCHEMA)
    op.create_index(
        "ix_job_finished",
        "job",
        ["finished_at"],
        schema=SCHEMA,
        postgresql_where=sa.text("finished_at is not null"),
    )


def downgrade() -> None:
    op.drop_index("ix_job_finished", "job", schema=SCHEMA)
    op.drop_table("model_event", schema=SCHEMA)
    for column in ("promotion", "parent_version", "parent_name", "origin", "exports", "verification"):
        op.drop_column("model_version", column, schema=SCHEMA)
    op.drop_column("model", "previous_version", schema=SCHEMA)
