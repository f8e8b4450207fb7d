"""Scores of a model's likelihoods: perplexity, answer probabilities, truth ratio, model utility."""
