"""How cost grows with the work: ``python -m benchmarks.scale [PART...]``."""
