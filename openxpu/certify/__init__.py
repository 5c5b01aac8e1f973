"""Certification: train, export, infer and compare a model on the card, with Paddle's CPU device as the reference."""
