"""Games on maps of cells that are drawn as text: what they share, Cleanup and Harvest."""
