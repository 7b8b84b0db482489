"""The supervisor's own gate: how what a sender sends is given to CTP."""
