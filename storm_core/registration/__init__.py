"""Pose from scratch: hypotheses, refinement, score, verification."""
