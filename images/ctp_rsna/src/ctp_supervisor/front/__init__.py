"""What is to be seen from outside: the pages, the figures, the health check."""
