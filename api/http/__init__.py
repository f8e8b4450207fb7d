"""HTTP parts that the routes share: problems, idempotency, uploads, downloads, pagination, limits, logs, metrics."""
