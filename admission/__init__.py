"""The admission plugin. Empty until it admits."""
