"""The one interface to a cluster, and its Kubernetes implementation: informers, writes, leases, events.

Only here is the kubernetes package imported. No policy.
"""
