"""Batched geometric pose refinement, shared by SOM, registration and the score model."""
