"""Social dilemmas as BenchMARL tasks: a file for each, named as its yaml in ``conf/task/social_dilemmas``."""
