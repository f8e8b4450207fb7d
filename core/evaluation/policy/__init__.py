"""Verdicts: what a policy needs to have measured, and how a model kept it. Without torch."""
