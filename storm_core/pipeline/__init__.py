"""Composition root and the offline step."""
