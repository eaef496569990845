"""From trained networks to maps: the network as a function, its views, tiles and files."""
