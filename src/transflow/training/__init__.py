"""Training by maximum likelihood: configuration, state, loop, losses, several processes."""
