"""Plans on a SLURM cluster: submit, status, retry, logs."""
