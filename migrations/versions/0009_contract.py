"""Submission by content, what a job uses of the registry, and the trace that it belongs to.

Jobs of older versions have no content key: they are never taken for what a new request asks for.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

SCHEMA = "training"
_COLUMNS = ("content_key", "source_model", "traceparent", "tracestate")
#: Column -> index of the rows that have it.
_INDEXED = {
    "content_key": "ix_job_content",
    "source_model": "ix_job_source_model",
    "parent_job_id": "ix_job_parent",
}
_SOURCE_MODEL = """
update training.job j
set source_model = m.ref->>'name' || '/' || (m.ref->>'version')
from (
    select id, case kind
        when 'train' then spec->'init_from'
        when 'export' then spec->'source'->'model'
        when 'evaluate' then spec->'model'
    end as ref
    from training.job
) m
where m.id = j.id and m.ref->>'name' is not null and m.ref->>'version' is not null
"""


def upgrade() -> None:
    for name in _COLUMNS:
        op.add_column("job", sa.Column(name, sa.Text()), schema=SCHEMA)
    op.execute(_SOURCE_MODEL)
    for column, name in _INDEXED.items():
        given = sa.text(f"{column} is not null")
        op.create_index(name, "job", [column], schema=SCHEMA, postgresql_where=given)


def downgrade() -> None:
    for name in _INDEXED.values():
        op.drop_index(name, "job", schema=SCHEMA)
    for name in _COLUMNS:
        op.drop_column("job", name, schema=SCHEMA)
