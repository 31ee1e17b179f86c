"""Output protocols: request in, bytes out."""
