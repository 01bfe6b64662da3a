"""What agents are told: the log of changes of the reference data, and leases of tasks."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

OPEN = sa.text("status = 'open'")


def upgrade() -> None:
    """Create them. Versions from before are in no log: whoever has one gets the snapshot."""
    op.create_table(
        "reference_change",
        sa.Column("version", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("list", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_reference_change")),
        comment="What each version of the reference data changed; the oldest are forgotten.",
    )
    op.create_table(
        "lease",
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("takes", sa.Text(), nullable=False),
        sa.Column("until_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("agent", name=op.f("pk_lease")),
        comment="Until when an agent holds its tasks; renewed while it is heard of.",
    )
    op.create_index(op.f("ix_lease_site"), "lease", ["site"], unique=False)
    op.add_column("task", sa.Column("holder", sa.Text(), nullable=True))
    op.create_index(
        "ix_task_open",
        "task",
        ["site", "document", "holder"],
        unique=False,
        postgresql_where=OPEN,
        sqlite_where=OPEN,
    )
