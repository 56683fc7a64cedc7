"""The failure benchmark: labelled faults put into a recording, and what a monitor says about them."""
