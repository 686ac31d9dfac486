"""The board's side of a package: one archive goes out, one record comes back and is merged."""
