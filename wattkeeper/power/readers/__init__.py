"""Readers: what exporters say in one round, as Measurements, from Prometheus or from the exporters themselves.

Both readers fetch raw samples and share everything after that: `interpretation` and a module per source. Joining with
the cluster, ladders and learning happen elsewhere.
"""
