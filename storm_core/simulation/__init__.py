"""Procedural objects, scenes, sensor noise and faults."""
