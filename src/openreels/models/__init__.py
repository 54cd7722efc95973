"""Networks: the V4 twin-tower transformer."""
