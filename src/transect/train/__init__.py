"""Training: one engine that takes a model through its stages and cannot lose a run."""
