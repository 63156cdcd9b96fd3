"""Tasks from a user's tables: classes of rows, or data sets for regression."""
