"""Training without the service: the command line, folders of recordings, results in a folder."""
