"""One module per kind of resource; a route is a declaration and one call."""
