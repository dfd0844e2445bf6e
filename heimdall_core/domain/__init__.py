"""The words of the service: jobs, manifests, reports and errors, in plain Python."""
