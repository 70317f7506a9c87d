"""The actuator. Empty until it acts."""
