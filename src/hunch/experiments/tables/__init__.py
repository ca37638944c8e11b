"""Error bars on tables, beside other people's methods."""
