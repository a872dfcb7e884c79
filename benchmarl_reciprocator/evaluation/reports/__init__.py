"""The report on a folder of results: what is read, what is said of it, and the files that are left."""
