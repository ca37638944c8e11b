"""Published claims as code: one file each, with its settings, its run and its check."""
