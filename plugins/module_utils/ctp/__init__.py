"""What CTP is given: its configuration, its script, and the tables behind them."""
