"""Advantage Alignment: the aligned advantage as pure functions, and how it is made of an experiment's batch."""
