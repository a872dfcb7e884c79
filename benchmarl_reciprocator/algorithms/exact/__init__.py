"""Learners on the exact values of matrix games: they use no frames, and no environment."""
