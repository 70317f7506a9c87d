"""Readings to snapshot to algorithm to guard to plan, as a synchronous, IO-free step(readings, now)."""
