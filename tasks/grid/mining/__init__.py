"""Coop mining."""
