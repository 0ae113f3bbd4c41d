"""Renderings of a run's record: for people and for machines."""
