"""What a contribution is worth: measured, compared with the others', weighed.

`losses` and `evaluate` measure with torch; everything else is numpy and plain Python, so that the API and the
command line can read `reasons` without it.
"""
