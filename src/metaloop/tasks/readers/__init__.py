"""Read files, tables and sentences of users into inputs and labels."""
