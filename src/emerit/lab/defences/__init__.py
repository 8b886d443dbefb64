"""Ways to decide who is paid: this program's, and what others use."""
