"""The story that every question shares, told once: train, predict, submit, score, report, demo."""
