"""Published ports: the rules for them, the host's own firewalls, and what became of a packet."""
