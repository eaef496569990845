"""Which one is it: recognising individuals, and saying "none that we know"."""
