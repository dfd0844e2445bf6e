"""Dataset versions: approved sessions, split and frozen into a manifest."""
