"""Problems that only an agent which explores can solve."""
