"""Which one is it: ranked identities and none we know; ``task`` tells the story."""
