"""Recording sessions: what they are, how they are packed, read back and checked."""
