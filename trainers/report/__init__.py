"""The report: one self-contained page made from a run folder and nothing else."""
