"""STORM beside other trackers: the same frames, the same start, the same machine, one table."""
