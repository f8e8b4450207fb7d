"""Text that a model writes: continuations, answers, and what is said of them."""
