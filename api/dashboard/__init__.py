"""The pages for people; what they show and do goes through the public API."""
