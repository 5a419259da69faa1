"""The log: the only thing that is synced, and the truth about everything else."""
