"""Whoever can sit in a seat of a game, trained, scripted or frozen, and how they play an episode together."""
