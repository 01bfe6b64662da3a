"""Backups that are counted on and how much of each stream they hold; how often an agent's older life came back."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Two tables, and their least in a column beside `acked`; a count beside each agent."""
    op.create_table(
        "backup",
        sa.Column("ordinal", Big, autoincrement=True, nullable=False),
        sa.Column("mark", sa.Text(), nullable=False),
        sa.Column("history", sa.Text(), nullable=False),
        sa.Column("place", sa.Text(), nullable=False),
        sa.Column("begun_us", sa.BigInteger(), nullable=False),
        sa.Column("finished_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("ordinal", name=op.f("pk_backup")),
        sa.UniqueConstraint("mark", name=op.f("uq_backup_mark")),
        comment="Finished: counted on for a restore. Begun: its cursors were read, the copy is not proved yet.",
    )
    op.create_table(
        "backup_cursor",
        sa.Column("backup", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("acked", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("backup", "incarnation", name=op.f("pk_backup_cursor")),
        comment="What a backup certainly holds of each stream; of those that are not here, nothing.",
    )
    op.add_column("cursor", sa.Column("backed_up", sa.BigInteger(), server_default="0", nullable=False))
    op.add_column("agent", sa.Column("returns", sa.BigInteger(), server_default="0", nullable=False))
    op.execute("INSERT INTO counter (name, value) VALUES ('backup', 0)")


def downgrade() -> None:
    """Drop them."""
    op.execute("DELETE FROM counter WHERE name = 'backup'")
    op.drop_column("agent", "returns")
    op.drop_column("cursor", "backed_up")
    op.drop_table("backup_cursor")
    op.drop_table("backup")
