"""The ``heimdall`` command: starts the service on one machine, and drives any over HTTP."""
