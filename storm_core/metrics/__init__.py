"""Pose and tracking metrics as pure functions."""
