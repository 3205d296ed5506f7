"""The synthetic peers, connected to each other without a proxy between them."""
