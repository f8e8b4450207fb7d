"""Text without a model: entities, cloze items, counterfactuals, words, overlap."""
