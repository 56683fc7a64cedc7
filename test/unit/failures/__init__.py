"""Tests of the failure benchmark."""
