"""What a node tells of itself: read, judged, kept and handed on, by the standard library alone.

The role status copies this package to each host, where a timer runs it (``python3 -m
node_status.cli``); the module node_status runs the same from the controller, and troubleshoot_host
reads the machine by the same `observe`. Nothing in here names a patient: what services tell is
reduced to counts, ages and words of this project.
"""
