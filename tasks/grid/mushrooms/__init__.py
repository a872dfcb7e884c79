"""Externality mushrooms."""
