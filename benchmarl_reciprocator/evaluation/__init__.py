"""What trained agents are worth against others: knows checkpoints and result files, nothing of training."""
