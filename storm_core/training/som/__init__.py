"""Training of the HSFA segmentation network."""
