# Settings from scan
# Settings from sweep
# scan: the scan found no grounds to set a variable.
# sweep: keep the defaults; no setting beat them clearly.
# No variable to set.
