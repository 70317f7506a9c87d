"""Plain typed data that every room speaks: kinds, readings, Snapshot, Plan. No IO, no clock, no policy."""
