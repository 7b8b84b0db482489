"""What a program asks of its machine: free space, writes that last, threads that are missed."""
