"""Registering models: where their files come from, and the checks that they pass."""
