"""What the service offers, one module per kind of resource, and how it is bound to a shell."""
