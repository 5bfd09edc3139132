"""Live status of pytest runs, and of whatever else, in Runcast."""

from .identity import Identity
from .reporter import Outcome, Reporter

__all__ = ["Identity", "Outcome", "Reporter"]
