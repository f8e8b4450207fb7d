"""What every route shares: problem documents, idempotency, uploads, downloads, pages, limits, logs and metrics."""
