"""Simulated surveys with known truth: salt bodies, colonies, flukes."""
