"""Downloads of checkpoints, on every route that has them: who may, and how the bytes are sent."""
