"""Champion and candidate on held-out requests, and the gate that is asked again of what runs."""
