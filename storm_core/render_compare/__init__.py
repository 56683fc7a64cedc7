"""Learned render-and-compare: networks that look at a render and a picture and say how the pose must change."""
