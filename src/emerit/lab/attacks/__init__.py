"""The attacks that the lab knows, by kind; each file has the sources."""
