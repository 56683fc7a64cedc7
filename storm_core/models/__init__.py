"""Learned weights: which there are, where they come from, and whether a file is what it should be."""
