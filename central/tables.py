"""Every table of the record of truth, in the order in which rows are locked within a transaction.

The same tables on PostgreSQL and SQLite: plain types, times as integer microseconds since 1970 (UTC) by the
database's clock, JSON as text. Movements and entries are never updated or deleted; balances are their sum.
"""

import sqlalchemy as sa

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)

Big = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # SQLite numbers rows only under INTEGER


def _text(name: str, default: str | None = None, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable, server_default=default)


def _index_where(name: str, *columns: str, condition: str, unique: bool = False) -> sa.Index:
    """A partial index: it holds what is open, however much has ended."""
    where = sa.text(condition)
    return sa.Index(name, *columns, unique=unique, postgresql_where=where, sqlite_where=where)


def _number(name: str, default: int | None = None, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(
        name, sa.BigInteger, nullable=nullable, server_default=None if default is None else str(default)
    )


# --- streams: how far central has come with each agent -------------------------------------------

history = sa.Table(
    "history",
    metadata,
    sa.Column("ordinal", Big, primary_key=True, autoincrement=True),
    _text("id"),
    _number("created_us"),
    _text("cause"),  # first, rolled_back, unknown_history, foreign, restored, promoted
    sa.UniqueConstraint("id"),
    comment="The current history is the one with the highest ordinal.",
)

counter = sa.Table(
    "counter",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # movement, reference
    _number("value", 0),
    comment="Numbers given in commit order: the row is locked last and held until the commit.",
)

agent = sa.Table(
    "agent",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("site"),
    _text("software", ""),
    _text("incarnation", nullable=True),  # the current one of its last hello
    _number("hello_us", nullable=True),
    _number("connection", 0),  # the highest seen in its state messages
    _text("state", nullable=True),  # its last state message, JSON
    _number("state_us", nullable=True),
    _number("returns", 0),  # how often an older life spoke after a younger one
)

cursor = sa.Table(
    "cursor",
    metadata,
    sa.Column("incarnation", sa.Text, primary_key=True),
    _text("agent"),
    _number("acked", 0),
    _text("predecessor", nullable=True),  # named by its event 1
    _number("first_seen_us"),
    _number("backed_up", 0),  # what every finished backup holds of it; says nothing while there is none
    sa.Index(None, "agent"),
    sa.Index(None, "predecessor"),
)

delivery = sa.Table(
    "delivery",
    metadata,
    sa.Column("incarnation", sa.Text, primary_key=True),
    sa.Column("sequence", sa.BigInteger, primary_key=True),
    _text("event_id"),
    comment="Who holds a place in a stream when it is not the movement booked from that place.",
)

set_aside = sa.Table(
    "set_aside",
    metadata,
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    _text("event_id"),
    _text("content_hash"),
    _text("incarnation"),
    _number("sequence"),
    _text("problem"),  # conflict, fork
    _text("original"),
    _number("recorded_us"),
    sa.UniqueConstraint("event_id", "content_hash", "incarnation", "sequence"),
    comment="Events kept beside the books: another content under a known id, another id in a taken place.",
)

# --- backups: what a restore brings back -------------------------------------------------------------

backup = sa.Table(
    "backup",
    metadata,
    sa.Column("ordinal", Big, primary_key=True, autoincrement=True),
    _text("mark"),  # its name, random: a restored database numbers anew
    _text("history"),  # the current one when it was begun
    _text("place"),  # the file, or what the operator calls it
    _number("begun_us"),
    _number("finished_us", nullable=True),
    sa.UniqueConstraint("mark"),
    comment="Finished: counted on for a restore. Begun: its cursors were read, the copy is not proved yet.",
)

backup_cursor = sa.Table(
    "backup_cursor",
    metadata,
    sa.Column("backup", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("incarnation", sa.Text, primary_key=True),
    _number("acked"),
    comment="What a backup certainly holds of each stream; of those that are not here, nothing.",
)

# --- keys ------------------------------------------------------------------------------------------

idempotency = sa.Table(
    "idempotency",
    metadata,
    sa.Column("scope", sa.Text, primary_key=True),  # SHA-256 of token, method, path and key
    _text("body_hash"),
    _text("answer"),  # JSON
    _number("created_us"),
    sa.Index(None, "created_us"),
)

token = sa.Table(
    "token",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),  # SHA-256 of the token; the token itself is never stored
    _text("name"),
    _text("role"),  # read, operate, admin
    _number("created_us"),
    _number("revoked_us", nullable=True),
)

session = sa.Table(
    "session",
    metadata,
    sa.Column("hash", sa.Text, primary_key=True),
    _text("token_hash"),
    _number("created_us"),
    _number("expires_us"),
)

# --- what things are ---------------------------------------------------------------------------------

item = sa.Table(
    "item",
    metadata,
    sa.Column("sku", sa.Text, primary_key=True),
    _text("name", ""),
    _text("tracking", "none"),  # none, lot, serial
    _number("scale", 0),
    sa.Column("provisional", sa.Boolean, nullable=False, server_default=sa.false()),
)

item_gtin = sa.Table(
    "item_gtin",
    metadata,
    sa.Column("gtin", sa.Text, primary_key=True),  # as 14 digits
    _text("sku"),
    _text("printed"),  # as it was registered
    _number("quantity", 1),
    sa.Index(None, "sku"),
)

location = sa.Table(
    "location",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("site"),
    _text("zone", ""),
    _number("walk_order", 0),
    _text("gln", nullable=True),
    sa.Column("provisional", sa.Boolean, nullable=False, server_default=sa.false()),
)

operator = sa.Table(
    "operator",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("name", ""),
    _text("badge", ""),
    _text("pin_hash", nullable=True),
    _text("roles", "[]"),  # JSON
    sa.Column("provisional", sa.Boolean, nullable=False, server_default=sa.false()),
)

reference_change = sa.Table(
    "reference_change",
    metadata,
    sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
    _text("list"),  # items, locations, operators, documents
    _text("id"),
    comment="What each version of the reference data changed; the oldest are forgotten.",
)

# --- documents and promises ------------------------------------------------------------------------

document = sa.Table(
    "document",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("type"),  # purchase_order, order, transfer, return, provisional
    _text("site"),
    _text("status"),  # open, closed, cancelled
    _text("supplier", nullable=True),
    _text("channel", nullable=True),
    _text("notices", nullable=True),  # JSON, as announced
    _number("created_us"),
    sa.Index(None, "type", "id"),
    _index_where("ix_document_open", "type", "created_us", condition="status = 'open'"),
)

document_line = sa.Table(
    "document_line",
    metadata,
    sa.Column("document", sa.Text, primary_key=True),
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("sku", sa.Text, primary_key=True),
    _number("ordered", 0),
    # Totals over the facts that stand. `picked` is net of unpicked and of what was damaged after picking.
    _number("received", 0),
    _number("picked", 0),
    _number("packed", 0),
    _number("shipped", 0),
    _number("transferred", 0),
    comment="Also for documents and lines that nobody ordered: totals are facts.",
)

promise = sa.Table(
    "promise",
    metadata,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("sku", sa.Text, primary_key=True),
    _number("free", 0),
    _number("reserved", 0),
    _number("committed", 0),
    sa.Index(None, "sku"),
    comment="The promise book's balances. `outside` is a boundary account and keeps none.",
)

reservation = sa.Table(
    "reservation",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("sku"),
    _text("site"),
    _number("quantity"),
    _text("channel"),
    _text("status"),  # active, committed, released, expired
    _number("created_us"),
    _number("expires_us"),
    _text("document", nullable=True),
    _index_where("ix_reservation_active", "sku", "site", "expires_us", condition="status = 'active'"),
)

unit = sa.Table(
    "unit",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),  # sscc:… or epc:…
    _text("site"),
    _text("location", nullable=True),
    _text("parent", nullable=True),
    _text("document", nullable=True),
    _text("contents", nullable=True),  # JSON; null awaits its contents
    _text("first_event", nullable=True),
    sa.Index(None, "parent"),
)

balance = sa.Table(
    "balance",
    metadata,
    sa.Column("site", sa.Text, primary_key=True),
    sa.Column("sku", sa.Text, primary_key=True),
    sa.Column("location", sa.Text, primary_key=True),  # `@` and the document for picked and packed goods
    sa.Column("state", sa.Text, primary_key=True),
    sa.Column("lot", sa.Text, primary_key=True),  # empty: no lot
    _number("quantity", 0),
    sa.Index(None, "sku", "site"),
    comment="The physical book's balances. Boundary accounts keep none.",
)

task = sa.Table(
    "task",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    _text("type"),
    _text("site"),
    _text("document"),
    _text("sku"),
    _number("quantity"),
    _text("from_location"),
    _number("done", 0),
    _text("lot", nullable=True),
    _text("status"),  # open, done, cancelled
    _number("changed_us"),
    _text("holder", nullable=True),  # the agent that it is leased to, as long as that agent's lease lasts
    sa.Index(None, "site", "status"),
    sa.Index(None, "site", "changed_us"),
    sa.Index(None, "document"),
    _index_where("ix_task_open", "site", "document", "holder", condition="status = 'open'"),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("agent", sa.Text, primary_key=True),
    _text("site"),
    _text("takes"),  # JSON: the types of tasks that its stations work on
    _number("until_us"),
    sa.Index(None, "site"),
    comment="Until when an agent holds its tasks; renewed while it is heard of.",
)

# --- the ledger --------------------------------------------------------------------------------------

movement = sa.Table(
    "movement",
    metadata,
    sa.Column("event_id", sa.Text, primary_key=True),
    _text("event"),  # received, picked, reserved, …
    _text("content_hash"),
    _text("outcome"),  # accepted, discrepant, rejected, conflict
    _text("actor"),  # agent:dock-2/op-7, token:shop, clock
    _text("occurred_at"),  # as the sender said it
    _text("reason", nullable=True),
    _text("site", nullable=True),
    _text("sku", nullable=True),
    _number("quantity", nullable=True),
    _text("document", nullable=True),
    _text("corrects", nullable=True),
    _text("incarnation", nullable=True),
    _number("sequence", nullable=True),
    _text("fact", nullable=True),  # what was booked, resolved: JSON, enough to reverse it
    _text("original", nullable=True),  # the event as it was sent
    _number("number", nullable=True),  # null: rejected, or a conflict that came first; nothing was booked
    _number("recorded_us"),
    sa.UniqueConstraint("number"),
    sa.Index("ix_movement_place", "incarnation", "sequence", unique=True),
    sa.Index(None, "corrects"),
    sa.Index(None, "sku", "number"),
    sa.Index(None, "document", "number"),
    comment="One row per event or claim that was answered, with its verdict. Never updated or deleted.",
)

entry = sa.Table(
    "entry",
    metadata,
    sa.Column("movement", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("ordinal", sa.Integer, primary_key=True, autoincrement=False),
    _text("book"),  # physical, promise
    _text("site"),
    _text("sku"),
    _text("location", ""),
    _text("lot", ""),
    _text("state"),
    _number("delta"),
    comment="In each book the deltas of one movement add up to zero. Never updated or deleted.",
)

discrepancy = sa.Table(
    "discrepancy",
    metadata,
    sa.Column("id", Big, primary_key=True, autoincrement=True),
    _text("kind"),
    _text("key"),  # what it is about; one open discrepancy per kind and key
    _text("sku", nullable=True),
    _text("site", nullable=True),
    _text("location", nullable=True),
    _number("expected", nullable=True),
    _number("actual", nullable=True),
    _text("detail", ""),
    _text("owner"),
    _number("due_us"),
    _text("status"),  # open, closed
    _number("opened_us"),
    _number("closed_us", nullable=True),
    _index_where("ix_discrepancy_open", "kind", "key", condition="status = 'open'", unique=True),
)

discrepancy_movement = sa.Table(
    "discrepancy_movement",
    metadata,
    sa.Column("discrepancy", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("movement", sa.Text, primary_key=True),  # its event id
)
