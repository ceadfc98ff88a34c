"""Options of Java processes."""

from typing import Final

QUICK_JAVA: Final = "-XX:TieredStopAtLevel=1"
"""For a process that does little, or lives for minutes: the better compiler is half of its CPU time and never pays."""
