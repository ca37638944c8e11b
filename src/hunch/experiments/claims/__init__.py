"""What `hunch reproduce` needs: the claims by name, checks, reports, runs in processes."""
