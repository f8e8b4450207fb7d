"""What API and worker both stand on; knows neither HTTP nor Celery."""

import os

# Read by the OpenMP runtime as torch is imported, hence here. A thread that waits by spinning takes the core from the
# one it waits for: on a machine with other work, forty training steps took 160 to 220 s of wall time on two cores, and
# 7 s with waiting threads asleep, and with no more processor time than on a free machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
