"""DICOM: instances in, results out.

part10     a data set that came, durably in our store, as it came     (decodes nothing)
"""
