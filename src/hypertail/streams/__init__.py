"""Streams of tasks: named benchmarks, image folders and hub datasets, in memory as uint8."""

from hypertail.streams.benchmarks import STREAMS, build_stream, experience_from_folder
from hypertail.streams.noise import Autocontrast, GaussianBlur, Grayscale, RandomGaussianBlur, Solarize
from hypertail.streams.report import DatasetReport, LeftOut
from hypertail.streams.sources.decode import read_images
from hypertail.streams.stream import Examples, Experience, Stream, Transform
from hypertail.streams.transforms import Compose, Normalise, RandomCrop, RandomFlip, Resize, Step, ToFloat

__all__ = [
    "STREAMS",
    "Autocontrast",
    "Compose",
    "DatasetReport",
    "Examples",
    "Experience",
    "GaussianBlur",
    "Grayscale",
    "LeftOut",
    "Normalise",
    "RandomCrop",
    "RandomFlip",
    "RandomGaussianBlur",
    "Resize",
    "Solarize",
    "Step",
    "Stream",
    "ToFloat",
    "Transform",
    "build_stream",
    "experience_from_folder",
    "read_images",
]
