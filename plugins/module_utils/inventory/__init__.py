"""What the inventory says, put together and checked before anything is changed."""
