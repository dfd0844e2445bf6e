"""The columns that this service reads of the platform's tables, where an older platform lacks them.

Nullable and without a default, so that no row of the platform gets a value that it did not write.

Revision: 0003
Follows: 0002
"""

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ADD_NULLABLE_COLUMNS = """
alter table heimdall.websdr_stations
    add column if not exists country varchar(100),
    add column if not exists is_active boolean,
    add column if not exists notes text,
    add column if not exists created_at timestamptz;
alter table heimdall.known_sources
    add column if not exists power_dbm float,
    add column if not exists created_at timestamptz;
alter table heimdall.recording_sessions
    add column if not exists session_end timestamptz,
    add column if not exists duration_seconds float,
    add column if not exists status varchar(50),
    add column if not exists approval_status varchar(50),
    add column if not exists notes text,
    add column if not exists created_at timestamptz,
    add column if not exists updated_at timestamptz;
alter table heimdall.measurements
    add column if not exists signal_strength_db float,
    add column if not exists snr_db float,
    add column if not exists iq_data_location varchar(512),
    add column if not exists iq_data_format varchar(50),
    add column if not exists iq_sample_rate int,
    add column if not exists iq_samples_count int,
    add column if not exists duration_seconds float,
    add column if not exists created_at timestamptz;
"""


def upgrade() -> None:
    op.execute(ADD_NULLABLE_COLUMNS)


def downgrade() -> None:
    """Leaves the platform's data alone."""
