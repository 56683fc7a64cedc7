"""Pose from the previous pose: region and depth Gauss-Newton."""
