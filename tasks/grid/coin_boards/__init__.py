"""Coins on large boards."""
