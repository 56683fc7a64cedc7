"""The learned parts of the monitor."""
