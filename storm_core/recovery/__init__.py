"""The recovery state machine."""
