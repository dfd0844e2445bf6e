"""Recording sessions made by computation, their truth known exactly."""
