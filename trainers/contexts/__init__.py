"""Where training runs: in this process, or under Ray Train."""
