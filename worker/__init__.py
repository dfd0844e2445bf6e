"""The worker: claims jobs, supervises one trainer process per job, and runs the control plane's upkeep."""
