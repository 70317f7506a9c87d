"""Wattkeeper keeps LLM inference on Kubernetes inside a power budget: the core that the three components share."""
