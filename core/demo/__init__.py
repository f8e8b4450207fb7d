"""Invented people, and small models that learn them by heart, for the demo, the benchmarks and the tests."""
