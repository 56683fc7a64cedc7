"""Runs of STORM over BOP datasets: what a job is, who does it, and what is kept when a run is interrupted."""
