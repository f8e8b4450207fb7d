"""Text that a model writes: continuations, answers, and their overlap, diversity and perplexity."""
