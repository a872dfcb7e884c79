"""Coins, the Coin Game: taking a coin pays, at the expense of its owner if that is another agent."""
