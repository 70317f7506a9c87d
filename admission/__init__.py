"""Admission plugin: requests and power gates on new pods, alerts where nothing is enforced. It never decides watts."""
