"""SOM: find and segment an object from its CAD model."""
