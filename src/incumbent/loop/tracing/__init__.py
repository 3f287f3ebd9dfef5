"""What happened to one request or one shopper, and why."""
