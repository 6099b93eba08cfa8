"""The outside world, one folder per protocol."""
