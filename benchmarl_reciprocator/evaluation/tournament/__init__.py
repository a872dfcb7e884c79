"""Trained agents in round robins with the strategies of the Axelrod library."""
