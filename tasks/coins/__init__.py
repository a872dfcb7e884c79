"""Coins, the Coin Game: whoever takes a coin is paid, and its owner pays for it."""
