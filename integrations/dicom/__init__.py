"""DICOM: instances in, results out.

part10     a data set that came, durably in our store, as it came     (decodes nothing)
catalogue  which objects and encodings are read, and by which decoder
sandbox    a file read in a child process with limits: `header`, or its frames as PNG
frames     decoded frames kept beside their instance in our store

In the sandbox's child only: `structure` (every length held against the file), `reader`, `header_reader`, `decoders`, `colour`.
"""
