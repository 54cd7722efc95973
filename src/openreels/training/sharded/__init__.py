"""Training of the V4 transformer on many devices: sharded weights, shared tokens, checkpoints for any world size."""
