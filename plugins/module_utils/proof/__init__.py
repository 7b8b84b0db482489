"""The proof: a phantom goes in with a name, and what comes out is judged."""
