"""From a request to a queued job: validation, preflight, and the rows that are written."""
