"""HTTP in, HTTP out. torch is never loaded here."""
