"""The reciprocal reward inside a BenchMARL experiment."""
