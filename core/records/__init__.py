"""SQLAlchemy tables, and every query that reads or changes them."""
