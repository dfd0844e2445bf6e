"""API keys looked up by their prefix, who made each, and the audit log.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SCHEMA = "training"

SEAL_AUDIT_LOG = """
create function training.refuse_changing_audit_log() returns trigger language plpgsql as $$
begin
    raise exception 'the audit log is only ever added to' using errcode = 'insufficient_privilege';
end $$;
create trigger audit_log_rows_are_sealed before update or delete on training.audit_log
    for each row execute function training.refuse_changing_audit_log();
create trigger audit_log_is_sealed before truncate on training.audit_log
    for each statement execute function training.refuse_changing_audit_log();
"""


def upgrade() -> None:
    op.add_column("api_key", sa.Column("created_by", sa.Text()), schema=SCHEMA)
    op.create_index("ix_api_key_prefix", "api_key", ["prefix"], schema=SCHEMA)
    op.create_table(
        "audit_log",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.func.now(), nullable=False),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("key_id", sa.Text()),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("target", sa.Text()),
        sa.Column("request_id", sa.Text()),
        sa.Column("client", sa.Text()),
        sa.Column(
            "detail",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default=sa.text("'{}'"),
            nullable=False,
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_log")),
        schema=SCHEMA,
    )
    for columns in (("at", "id"), ("actor", "id"), ("target", "id")):
        op.create_index(f"ix_audit_log_{'_'.join(columns)}", "audit_log", list(columns), schema=SCHEMA)
    op.execute(SEAL_AUDIT_LOG)


def downgrade() -> None:
    op.drop_table("audit_log", schema=SCHEMA)
    op.execute("drop function training.refuse_changing_audit_log()")
    op.drop_index("ix_api_key_prefix", "api_key", schema=SCHEMA)
    op.drop_column("api_key", "created_by", schema=SCHEMA)
