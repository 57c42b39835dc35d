"""What is kept of a run, and what is made of it: result files, statistics, tables, figures, reports."""
