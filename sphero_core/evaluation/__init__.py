"""How good the findings are: figures against labelled boxes and masks, and against labelled points. Pure functions."""
