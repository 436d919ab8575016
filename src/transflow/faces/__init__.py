"""Faces found in photographs, by a detector, by hand or in a table, and turned to where a face model saw them."""
