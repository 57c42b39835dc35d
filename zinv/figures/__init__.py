"""Figures of stored results, as a paper prints them: PDF and PNG, with a caption that says how images were picked."""
