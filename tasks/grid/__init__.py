"""Grid worlds on maps drawn as text: what they share, Cleanup and Harvest."""
