"""The ledger's schema over time (Alembic); `database.migrate` runs it, no command of Alembic's is needed."""
