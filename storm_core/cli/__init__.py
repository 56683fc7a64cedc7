"""The storm command line."""
