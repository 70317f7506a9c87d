"""Third-party algorithms: trust, sandbox, entitlement. Empty until the first of them exists."""
