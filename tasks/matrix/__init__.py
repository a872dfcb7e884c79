"""Iterated matrix games: a payoff table, two to N players, any number of actions."""
