"""In-the-matrix: matrix games whose strategies are what agents have collected on a map before they meet."""
