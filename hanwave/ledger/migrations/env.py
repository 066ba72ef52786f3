"""Alembic's entry: runs on the connection that `database.migrate` hands it."""

from alembic import context
from sqlmodel import SQLModel

from hanwave.ledger import tables

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=SQLModel.metadata, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()

__all__ = ["tables"]
