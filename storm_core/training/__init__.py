"""What was learned from simulation, and how to learn it again."""
