"""The platform's tables: creates what is absent, adds nullable columns, changes and drops nothing.

Revision: 0002
Follows: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

CREATE_ABSENT = """
create schema if not exists heimdall;
create table if not exists heimdall.websdr_stations (
    id uuid primary key default gen_random_uuid(),
    name varchar(255) not null unique,
    url varchar(512) not null,
    country varchar(100),
    latitude float not null,
    longitude float not null,
    frequency_min_hz bigint,
    frequency_max_hz bigint,
    is_active boolean default true,
    api_type varchar(50) default 'http',
    rate_limit_ms int default 1000,
    timeout_seconds int default 30,
    notes text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    constraint valid_frequencies check (frequency_min_hz <= frequency_max_hz)
);
create table if not exists heimdall.known_sources (
    id uuid primary key default gen_random_uuid(),
    name varchar(255) not null,
    description text,
    frequency_hz bigint not null,
    latitude float not null,
    longitude float not null,
    power_dbm float,
    source_type varchar(100),
    is_validated boolean default false,
    created_at timestamptz default now(),
    updated_at timestamptz default now()
);
create table if not exists heimdall.recording_sessions (
    id uuid primary key default gen_random_uuid(),
    known_source_id uuid not null references heimdall.known_sources (id) on delete restrict,
    session_name varchar(255) not null,
    session_start timestamptz not null,
    session_end timestamptz,
    duration_seconds float,
    celery_task_id varchar(255),
    status varchar(50) default 'pending',
    approval_status varchar(50) default 'pending',
    notes text,
    created_at timestamptz default now(),
    updated_at timestamptz default now(),
    constraint valid_status check (status in ('pending', 'in_progress', 'completed', 'failed'))
);
create table if not exists heimdall.measurements (
    websdr_station_id uuid not null references heimdall.websdr_stations (id) on delete restrict,
    timestamp timestamptz not null,
    id uuid default gen_random_uuid(),
    frequency_hz bigint not null,
    signal_strength_db float,
    snr_db float,
    frequency_offset_hz int,
    iq_data_location varchar(512),
    iq_data_format varchar(50),
    iq_sample_rate int,
    iq_samples_count int,
    duration_seconds float,
    notes text,
    created_at timestamptz default now(),
    primary key (timestamp, id)
);
"""

ADD_NULLABLE_COLUMNS = """
alter table heimdall.websdr_stations add column if not exists altitude_asl float;
alter table heimdall.known_sources add column if not exists error_margin_meters float;
alter table heimdall.measurements
    add column if not exists recording_session_id uuid,
    add column if not exists iq_sha256 text,
    add column if not exists iq_byte_offset bigint,
    add column if not exists iq_num_bytes bigint,
    add column if not exists noise_floor_dbfs float;
"""

#: Only on a table that this migration itself has just made, which is still empty.
INDEX_WHEN_EMPTY = """
do $$ begin
    if not exists (select from heimdall.measurements) then
        create index if not exists ix_measurements_recording_session
            on heimdall.measurements (recording_session_id);
    end if;
end $$;
"""


def upgrade() -> None:
    op.execute(CREATE_ABSENT)
    op.execute(ADD_NULLABLE_COLUMNS)
    op.execute(INDEX_WHEN_EMPTY)


def downgrade() -> None:
    """Leaves the platform's data alone."""
