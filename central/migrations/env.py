"""Alembic's entry: runs the steps on the connection that `central.database.migrate` hands over.

There is no ini file: central migrates itself at its start, in one transaction.
"""

from alembic import context

from central import tables

context.configure(connection=context.config.attributes["connection"], target_metadata=tables.metadata)
with context.begin_transaction():
    context.run_migrations()
