"""A game, an algorithm, a player and a suite of their own for benchmarl-reciprocator."""
