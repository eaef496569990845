"""Comparisons that take minutes to hours: peers, torture, large surveys."""
