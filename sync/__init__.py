"""The contract with central, the durable journal, and the engine that drains one into the other.

messages    what travels over MQTT, as values; topics, limits, encoding
events      the stock events and what each must carry: one table
content     what "the same content" means (RFC 8785, SHA-256)
ids         event ids (UUIDv7), incarnations and nonces
ranges      sets of sequences kept as ranges
journal     the durable record of every scan: one writer thread, group commit
recorded    what goes into the journal, what comes out, why it can refuse
store       what the journal's file holds (the only SQL here)
layout      the tables of that file, and how an older one is brought up
lives       what is known of each incarnation without looking at its events
retention   which events and incarnations the journal may forget
keeping     lets go of what may be forgotten, in small steps
survey      what can be learned of a journal from outside, beside its agent
proof       whether a journal is sound
engine      the agent's side of the protocol, without I/O
uplink      runs the engine: journal on one side, MQTT on the other
mqtt        one MQTT connection at a time, rebuilt for ever (the only paho here)
"""
