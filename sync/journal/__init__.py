"""The durable record of every scan, in one file that outlives whatever happens to its agent.

journal     who waits for what: one writer thread, group commit, an answer only after the commit
committer   what becomes durable together, and who may hear of it: the writer's decisions, without its thread
recorded    what goes in, what comes out, why it can refuse
store       what the file holds and how it changes
layout      the tables of the file, and how an older one is brought up
lives       what is known of each incarnation without looking at its events
reader      what can be asked beside the writer
retention   which events and incarnations may be forgotten
keeping     lets go of them, in small steps
files       the file as the operating system has it; directory, ballast: names and room on the disk
condition   what an error of the disk means; mending: what is done about it; moving: a new file for the journal
inspection  whether a file is sound, asked at start; salvage, carving: what a damaged one still gives
survey      what can be learned from outside, beside the agent; proof: whether all of it is sound
"""

from sync.journal.journal import Journal
from sync.journal.recorded import Draft, EventTooLarge, JournalBusy, JournalError, Recorded

__all__ = ["Draft", "EventTooLarge", "Journal", "JournalBusy", "JournalError", "Recorded"]
