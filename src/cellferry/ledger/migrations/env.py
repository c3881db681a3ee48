"""Alembic runs this for every command; the caller's connection is in a transaction already, and ends it."""

from alembic import context

from cellferry.ledger.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite changes a column by making its table anew
    transactional_ddl=True,  # SQLite too, since it is us who begin the transaction
)
context.run_migrations()
