"""The command line: one module per command, which parses, calls the library and hands the result to a view."""

from boxtrace.interrupts import note_interrupts

note_interrupts()  # before anything else is imported: that takes long, and is where Python may forget one
