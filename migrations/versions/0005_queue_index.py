"""One index for the order of the queue, which answers where a job stands without a look at the jobs.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SCHEMA = "training"
_QUEUED = sa.text("status = 'queued'")
_BEST_FIRST = sa.text("priority_rank desc")


def upgrade() -> None:
    op.create_index(
        "ix_job_queue",
        "job",
        [_BEST_FIRST, "created_at", "id"],
        schema=SCHEMA,
        postgresql_where=_QUEUED,
        postgresql_include=["owner", "kind"],
    )
    op.drop_index("ix_job_claim", "job", schema=SCHEMA)


def downgrade() -> None:
    op.create_index(
        "ix_job_claim", "job", [_BEST_FIRST, "created_at"], schema=SCHEMA, postgresql_where=_QUEUED
    )
    op.drop_index("ix_job_queue", "job", schema=SCHEMA)
