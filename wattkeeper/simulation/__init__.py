"""The digital twin: an in-memory cluster behind the interface of cluster/, its physics and its autoscaler.

Never used by a running service.
"""
