"""Statistics of figures: bootstrap intervals, AUCs, comparisons."""
