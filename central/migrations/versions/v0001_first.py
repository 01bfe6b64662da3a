"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create them, and the counters that movements and reference data are numbered from."""
    op.create_table(
        "agent",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("software", sa.Text(), server_default="", nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=True),
        sa.Column("hello_us", sa.BigInteger(), nullable=True),
        sa.Column("connection", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("state", sa.Text(), nullable=True),
        sa.Column("state_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_agent")),
    )
    op.create_table(
        "balance",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("site", "sku", "location", "state", "lot", name=op.f("pk_balance")),
        comment="The physical book's balances. Boundary accounts keep none.",
    )
    op.create_index(op.f("ix_balance_sku_site"), "balance", ["sku", "site"], unique=False)
    op.create_table(
        "counter",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counter")),
        comment="Numbers given in commit order: the row is locked last and held until the commit.",
    )
    op.create_table(
        "cursor",
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("agent", sa.Text(), nullable=False),
        sa.Column("acked", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("predecessor", sa.Text(), nullable=True),
        sa.Column("first_seen_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("incarnation", name=op.f("pk_cursor")),
    )
    op.create_index(op.f("ix_cursor_agent"), "cursor", ["agent"], unique=False)
    op.create_index(op.f("ix_cursor_predecessor"), "cursor", ["predecessor"], unique=False)
    op.create_table(
        "delivery",
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("incarnation", "sequence", name=op.f("pk_delivery")),
        comment="Who holds a place in a stream when it is not the movement booked from that place.",
    )
    op.create_table(
        "discrepancy",
        sa.Column("id", Big, autoincrement=True, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("expected", sa.BigInteger(), nullable=True),
        sa.Column("actual", sa.BigInteger(), nullable=True),
        sa.Column("detail", sa.Text(), server_default="", nullable=False),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("due_us", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("opened_us", sa.BigInteger(), nullable=False),
        sa.Column("closed_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_discrepancy")),
    )
    op.create_index(
        "ix_discrepancy_open",
        "discrepancy",
        ["kind", "key"],
        unique=True,
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.create_table(
        "discrepancy_movement",
        sa.Column("discrepancy", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("movement", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("discrepancy", "movement", name=op.f("pk_discrepancy_movement")),
    )
    op.create_table(
        "document",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("supplier", sa.Text(), nullable=True),
        sa.Column("channel", sa.Text(), nullable=True),
        sa.Column("notices", sa.Text(), nullable=True),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document")),
    )
    op.create_index(
        "ix_document_open",
        "document",
        ["type", "created_us"],
        unique=False,
        postgresql_where=sa.text("status = 'open'"),
        sqlite_where=sa.text("status = 'open'"),
    )
    op.create_index(op.f("ix_document_type_id"), "document", ["type", "id"], unique=False)
    op.create_table(
        "document_line",
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("ordered", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("received", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("picked", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("packed", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("shipped", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("transferred", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("document", "site", "sku", name=op.f("pk_document_line")),
        comment="Also for documents and lines that nobody ordered: totals are facts.",
    )
    op.create_table(
        "entry",
        sa.Column("movement", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("ordinal", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("book", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), server_default="", nullable=False),
        sa.Column("lot", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("delta", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("movement", "ordinal", name=op.f("pk_entry")),
        comment="In each book the deltas of one movement add up to zero. Never updated or deleted.",
    )
    op.create_table(
        "history",
        sa.Column("ordinal", Big, autoincrement=True, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("ordinal", name=op.f("pk_history")),
        sa.UniqueConstraint("id", name=op.f("uq_history_id")),
        comment="The current history is the one with the highest ordinal.",
    )
    op.create_table(
        "idempotency",
        sa.Column("scope", sa.Text(), nullable=False),
        sa.Column("body_hash", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope", name=op.f("pk_idempotency")),
    )
    op.create_index(op.f("ix_idempotency_created_us"), "idempotency", ["created_us"], unique=False)
    op.create_table(
        "item",
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("tracking", sa.Text(), server_default="none", nullable=False),
        sa.Column("scale", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("provisional", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("sku", name=op.f("pk_item")),
    )
    op.create_table(
        "item_gtin",
        sa.Column("gtin", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("printed", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), server_default="1", nullable=False),
        sa.PrimaryKeyConstraint("gtin", name=op.f("pk_item_gtin")),
    )
    op.create_index(op.f("ix_item_gtin_sku"), "item_gtin", ["sku"], unique=False)
    op.create_table(
        "location",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("zone", sa.Text(), server_default="", nullable=False),
        sa.Column("walk_order", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("gln", sa.Text(), nullable=True),
        sa.Column("provisional", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_location")),
    )
    op.create_table(
        "movement",
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("site", sa.Text(), nullable=True),
        sa.Column("sku", sa.Text(), nullable=True),
        sa.Column("quantity", sa.BigInteger(), nullable=True),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("actor", sa.Text(), nullable=False),
        sa.Column("corrects", sa.Text(), nullable=True),
        sa.Column("incarnation", sa.Text(), nullable=True),
        sa.Column("sequence", sa.BigInteger(), nullable=True),
        sa.Column("occurred_at", sa.Text(), nullable=False),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.Column("fact", sa.Text(), nullable=True),
        sa.Column("original", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("event_id", name=op.f("pk_movement")),
        sa.UniqueConstraint("number", name=op.f("uq_movement_number")),
        comment="One row per event or claim that was answered, with its verdict. Never updated or deleted.",
    )
    op.create_index(op.f("ix_movement_corrects"), "movement", ["corrects"], unique=False)
    op.create_index(op.f("ix_movement_document_number"), "movement", ["document", "number"], unique=False)
    op.create_index("ix_movement_place", "movement", ["incarnation", "sequence"], unique=True)
    op.create_index(op.f("ix_movement_sku_number"), "movement", ["sku", "number"], unique=False)
    op.create_table(
        "operator",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("badge", sa.Text(), server_default="", nullable=False),
        sa.Column("pin_hash", sa.Text(), nullable=True),
        sa.Column("roles", sa.Text(), server_default="[]", nullable=False),
        sa.Column("provisional", sa.Boolean(), server_default=sa.false(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator")),
    )
    op.create_table(
        "promise",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("free", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("reserved", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("committed", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("site", "sku", name=op.f("pk_promise")),
        comment="The promise book's balances. `outside` is a boundary account and keeps none.",
    )
    op.create_index(op.f("ix_promise_sku"), "promise", ["sku"], unique=False)
    op.create_table(
        "reservation",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.Column("document", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reservation")),
    )
    op.create_index(
        "ix_reservation_active",
        "reservation",
        ["sku", "site", "expires_us"],
        unique=False,
        postgresql_where=sa.text("status = 'active'"),
        sqlite_where=sa.text("status = 'active'"),
    )
    op.create_table(
        "session",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("token_hash", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("expires_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_session")),
    )
    op.create_table(
        "set_aside",
        sa.Column("id", Big, autoincrement=True, nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("content_hash", sa.Text(), nullable=False),
        sa.Column("incarnation", sa.Text(), nullable=False),
        sa.Column("sequence", sa.BigInteger(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=False),
        sa.Column("original", sa.Text(), nullable=False),
        sa.Column("recorded_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_set_aside")),
        sa.UniqueConstraint(
            "event_id",
            "content_hash",
            "incarnation",
            "sequence",
            name=op.f("uq_set_aside_event_id_content_hash_incarnation_sequence"),
        ),
        comment="Events kept beside the books: another content under a known id, another id in a taken place.",
    )
    op.create_table(
        "task",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("document", sa.Text(), nullable=False),
        sa.Column("sku", sa.Text(), nullable=False),
        sa.Column("quantity", sa.BigInteger(), nullable=False),
        sa.Column("done", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("from_location", sa.Text(), nullable=False),
        sa.Column("lot", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("changed_us", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_task")),
    )
    op.create_index(op.f("ix_task_document"), "task", ["document"], unique=False)
    op.create_index(op.f("ix_task_site_changed_us"), "task", ["site", "changed_us"], unique=False)
    op.create_index(op.f("ix_task_site_status"), "task", ["site", "status"], unique=False)
    op.create_table(
        "token",
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_us", sa.BigInteger(), nullable=False),
        sa.Column("revoked_us", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("hash", name=op.f("pk_token")),
    )
    op.create_table(
        "unit",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=True),
        sa.Column("parent", sa.Text(), nullable=True),
        sa.Column("document", sa.Text(), nullable=True),
        sa.Column("contents", sa.Text(), nullable=True),
        sa.Column("first_event", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_unit")),
    )
    op.create_index(op.f("ix_unit_parent"), "unit", ["parent"], unique=False)
    # ### end Alembic commands ###
    op.execute("INSERT INTO counter (name, value) VALUES ('movement', 0), ('reference', 0)")


def downgrade() -> None:
    """Drop them."""
    op.drop_table("agent")
    op.drop_table("balance")
    op.drop_table("counter")
    op.drop_table("cursor")
    op.drop_table("delivery")
    op.drop_table("discrepancy")
    op.drop_table("discrepancy_movement")
    op.drop_table("document")
    op.drop_table("document_line")
    op.drop_table("entry")
    op.drop_table("history")
    op.drop_table("idempotency")
    op.drop_table("item")
    op.drop_table("item_gtin")
    op.drop_table("location")
    op.drop_table("movement")
    op.drop_table("operator")
    op.drop_table("promise")
    op.drop_table("reservation")
    op.drop_table("session")
    op.drop_table("set_aside")
    op.drop_table("task")
    op.drop_table("token")
    op.drop_table("unit")
