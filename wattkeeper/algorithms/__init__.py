"""The built-in capping algorithms, a file each: Snapshot in, Plan out. No IO, no clock, no state of their own."""
