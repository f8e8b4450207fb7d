"""The ground floor of what computes: models, tokens, losses. Knows nothing of the project but `core.schema`."""
