"""What ``skrdae detect`` and ``skrdae score`` do."""
