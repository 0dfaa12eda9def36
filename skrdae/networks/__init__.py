"""Networks with a leading member axis."""
