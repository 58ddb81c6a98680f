"""Not measured: the shared starting point."""

from launcher.sizing import Speed

SPEED = Speed()
