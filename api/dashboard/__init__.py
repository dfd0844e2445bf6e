"""The read-only pages for people."""
