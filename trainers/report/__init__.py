"""Reports: self-contained pages about one run, or several side by side, made from run folders and nothing else."""
