"""A run as a conversation: what was said, by whom, which tools were used and what they gave. Pure.

`messages` reads the frameworks' messages, `reading` makes a transcript of a log, `lines` writes it for people.
"""
