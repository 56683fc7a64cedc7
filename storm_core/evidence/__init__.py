"""Render a pose, compare it with the frame: the numbers every decision is made from."""
