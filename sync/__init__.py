"""The contract with central, the durable journal, and the engine that drains one into the other.

messages    what travels over MQTT, as values; topics, limits, encoding
events      the stock events and what each must carry: one table
content     what "the same content" means (RFC 8785, SHA-256)
ids         event ids (UUIDv7), incarnations and nonces
ranges      sets of sequences kept as ranges
voids       the event that stands in for one that central cannot read
orders      what central may ask of the agent's program
engine      the agent's side of the protocol, without I/O
uplink      runs the engine: journal on one side, MQTT on the other
mqtt        one MQTT connection at a time, rebuilt for ever (the only paho here)
network     the thread that moves its bytes, and shows that it lives
journal/    the durable record of every scan
"""
