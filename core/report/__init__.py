"""Reports of jobs, made from the records. Loads no torch; knows no HTTP and no HTML."""
