"""One pose becomes a distribution: annealed Langevin particles."""
