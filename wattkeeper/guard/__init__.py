"""The guard: the only maker of GuardedPlan. Imports only api, trusts no algorithm."""
