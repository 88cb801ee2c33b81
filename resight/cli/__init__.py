"""The command line: one file a verb, each a frozen dataclass of its options with a `run` method."""
