"""The one way into BenchMARL: registries, what every experiment on our tasks does besides, and private names."""
