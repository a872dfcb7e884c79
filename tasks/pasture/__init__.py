"""A commons in continuous space, simulated by VMAS."""
