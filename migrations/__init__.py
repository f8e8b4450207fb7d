"""Alembic's migrations; `core.records.migrate` runs them."""
