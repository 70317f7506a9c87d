"""A real Kubernetes control plane for tests: etcd, Kubernetes itself, KWOK, KEDA, Prometheus, a power exporter.

Belongs here: building, starting, stopping and talking to these programs, and the fake power exporter. Does not belong
here: scenarios about Wattkeeper itself (tests/cluster/test_*.py), or any import of the product.
"""
