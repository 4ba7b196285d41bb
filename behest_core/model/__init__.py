"""What a run consists of. Pure: no clock, no I/O, no AWS."""
