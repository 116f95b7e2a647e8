"""The frozen types that the whole program shares. They hold data and say what it means; they decide nothing."""
