"""The data volume: what is on a block device, and what must be done with it."""
