"""Recommender service and KEDA external scaler: the loop, its Lease, publishing, gRPC."""
