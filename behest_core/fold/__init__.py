"""The fold of a run's log into its state. Pure: no clock, no I/O, no AWS."""
