"""Social dilemmas as BenchMARL tasks: one module each, with the name of its yaml in ``conf/task/social_dilemmas``."""
