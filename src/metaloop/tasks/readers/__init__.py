"""Files, tables and sentences as a user has them, read into inputs and labels."""
