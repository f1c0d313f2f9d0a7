"""What comes in over HTTP: wire to values and back, and nothing else."""
