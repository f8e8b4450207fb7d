"""Evidence that is checked without the service: audit logs, signatures, statements."""
