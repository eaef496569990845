"""The catalogue of known individuals: its store and the grouping of unnamed images."""
