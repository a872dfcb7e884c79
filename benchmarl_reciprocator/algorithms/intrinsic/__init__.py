"""Algorithms that learn from a reward of their own making: pure functions, and what puts them into a batch."""
