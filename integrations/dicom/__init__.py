"""DICOM: instances in, results out.

store_scp   the receiver: C-STORE, C-ECHO; its connections, with TLS and limits, in `association_server`
memory      where data sets go while they come, used again for the next
outline     whether a data set is whole, and the instance that its sender says
part10      a data set that came, durably in our store, as it came     (decodes nothing)
catalogue   which objects and encodings are read, and by which decoder
structure   every length of a data set held against the file
sandbox     a file read in a child process with limits: `header`, or its frames as PNG
frames      decoded frames kept beside their instance in our store

In the sandbox's child only: `reader`, `header_reader`, `decoders`, `colour`.
"""
