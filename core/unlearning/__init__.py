"""Unlearning: a catalogue of methods, and one trainer for all of them."""
