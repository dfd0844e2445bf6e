"""Schedules and triggers: models trained again by the clock, by new recordings, or by drift."""
