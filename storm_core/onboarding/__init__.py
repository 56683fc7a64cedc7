"""What is computed once per mesh: templates and the shape's own near-symmetries, cached by content hash."""
