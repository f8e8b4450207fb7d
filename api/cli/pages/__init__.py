"""The pages of docs/ that are generated from the catalogues of methods, measurements and events."""
