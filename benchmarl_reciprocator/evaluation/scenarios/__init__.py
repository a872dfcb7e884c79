"""Scenarios: named, versioned games in which trained agents meet others whom they have not learned with."""
