"""How many: counts with intervals from photos and dots, or totals; ``task`` tells the story."""
