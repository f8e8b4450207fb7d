"""Reports for people: one document out of a report's data, written as HTML or as PDF."""
