"""Pictures of figures as SVG, which needs no script and no network."""
