"""The `openxpu demo`: real data, trained, exported and served on the card, beside Paddle's own CPU device."""
