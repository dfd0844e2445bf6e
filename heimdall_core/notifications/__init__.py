"""Telling others what happened: the stream of events, and webhooks. No torch here."""
