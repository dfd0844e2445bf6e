"""What each attempt used: memory, and time for an epoch.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SCHEMA = "training"
_NEW = (
    ("peak_host_bytes", sa.BigInteger()),
    ("peak_accelerator_bytes", sa.BigInteger()),
    ("seconds_per_epoch", sa.Float()),
)


def upgrade() -> None:
    for name, column_type in _NEW:
        op.add_column("job_attempt", sa.Column(name, column_type), schema=SCHEMA)


def downgrade() -> None:
    for name, _ in _NEW:
        op.drop_column("job_attempt", name, schema=SCHEMA)
