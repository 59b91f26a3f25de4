# Settings from scan
# Settings from sweep
# scan: the scan found no grounds to set a variable.
# sweep: a choice by message size. Measured with MPICH 5.0.2 on 2 ranks: 1.202 times the defaults' speed (95 %: 1.141 to 1.266).
# No variable can say that: emit it with --format tuner, a tuner plugin applies it size by size.
# No variable to set.
