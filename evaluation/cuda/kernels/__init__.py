"""Device code of matching and precision; see `evaluation.cuda`."""
