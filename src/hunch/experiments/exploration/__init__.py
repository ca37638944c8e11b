"""Problems that only exploration solves."""
