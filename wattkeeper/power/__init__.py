"""Readings from exporters and the power model that turns them into watts per node and replica. Nothing here decides."""
