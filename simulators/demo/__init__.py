"""`tallyman demo`: a small warehouse on this machine that proves itself from outside.

The real programs run as processes; scanners, a camera's pictures, a gate's reader and a cable are simulated; workers
do what people would. Then everything is compared event by event (`simulators.demo.proof`).
"""

from simulators.demo.run import main

__all__ = ["main"]
