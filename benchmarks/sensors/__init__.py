"""Power, clock, temperature and throttling of the machine under a benchmark.

A new sensor is a file with a function that opens it below a root folder, and a line in ``SENSORS``
(:mod:`edgeseg.benchmarks.sensors.registry`).
"""

from edgeseg.benchmarks.sensors.energy import Window
from edgeseg.benchmarks.sensors.reading import Quantity
from edgeseg.benchmarks.sensors.registry import SENSORS, Sensors, Subject, open_sensors
from edgeseg.benchmarks.sensors.report import SensorReport, sensor_report
from edgeseg.benchmarks.sensors.sampler import Recording, Sampler

__all__ = [
    "SENSORS",
    "Quantity",
    "Recording",
    "Sampler",
    "SensorReport",
    "Sensors",
    "Subject",
    "Window",
    "open_sensors",
    "sensor_report",
]
