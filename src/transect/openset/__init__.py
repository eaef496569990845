"""Open-set decisions: what speaks for each known individual, and for none of them."""
