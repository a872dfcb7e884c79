"""Gift refinements."""
