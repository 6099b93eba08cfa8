"""HL7 version 2: results out to the laboratory information system, orders in from it.

escape.py        texts made safe before they reach the message builder
versions.py      what differs between HL7 2.3 and 2.5.1
profile.py       what differs from one receiving system to the next
profile_file.py  profiles as TOML files; profiles/ holds those that are shipped
result.py        what is told, as values, and whether it can be told
observations.py  which OBX there are and what stands in each
segments.py      the segments of a result
oru.py, oul.py   their order in ORU^R01 and OUL^R22
message.py       from a result to the bytes for one destination
sample.py        results of an invented patient
builder.py       the structure of messages, from hl7apy
names.py         what segments and fields are called, from hl7apy too
reading.py       any message taken apart for people
guide.py         the message guide of a profile; guide_texts.py has its words
conformance.py   our own check of the finished bytes
control_id.py    MSH-10 from what is sent, to whom
header.py        MSH of a received message: what must be known first
er7.py           the few lines of syntax that checking and acknowledging need
ack.py           acknowledgements: read, build, decide
framing.py       MLLP blocks in a stream of bytes
batch_file.py    messages in a file, put into a folder
wire.py          what client and listener do alike with a socket
mllp.py          the client
listener.py      the server: connections
reception.py     the server: what is answered, in original and enhanced mode
received.py      a received message: caps, header, values out of fields
order.py         orders, patient updates and merges out of messages
simulator.py     a receiving system to try against, faults included
"""
