"""Measures what a model still knows: figures with intervals, attacks, and the verdict against a policy."""
