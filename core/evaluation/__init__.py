"""What a model still knows: figures with their intervals, from one pass over each set."""
