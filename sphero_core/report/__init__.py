"""The report for people: one content, laid out as a page of HTML and as a PDF that can be archived."""
