"""What becomes of the rows: lines on the screen, tables in the docs, a plot."""
