"""Attacks on a model that should have forgotten: membership, exposure, extraction, relearning, quantisation."""
