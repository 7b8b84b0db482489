"""When something is wrong: diagnosis, quarantine, and what may leave in a support bundle."""
