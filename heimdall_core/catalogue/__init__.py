"""The recordings catalogue: uploads, imports, receivers and recording sessions."""
