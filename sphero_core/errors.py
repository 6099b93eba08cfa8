"""Errors of the core.

    SpheroCoreError
    ├── ImageError           the file is no image that can be analysed
    │   ├── UnsupportedImage   another format, bit depth or layout than those read here
    │   ├── DamagedImage       truncated or corrupt
    │   ├── ImageTooLarge      refused by its size before anything is decoded
    │   └── UnreadableImage    the file is missing or cannot be opened; nothing is known about its content
    ├── BundleError          the model bundle is missing, incomplete or altered
    └── DatasetError         an annotated data set cannot be read as it stands

Each message says what is wrong, where, and what to do; none quotes a file's path, since folder names may hold an
accession number.
"""


class SpheroCoreError(Exception):
    """Base of every error that the core raises on purpose."""


class ImageError(SpheroCoreError):
    """The file is no image that can be analysed."""


class UnsupportedImage(ImageError):
    """The format, bit depth or layout is not one that is read here."""


class DamagedImage(ImageError):
    """The file is truncated or corrupt."""


class ImageTooLarge(ImageError):
    """The file or its pixel dimensions exceed the limits; nothing was decoded."""


class UnreadableImage(ImageError):
    """The file is missing or cannot be opened; nothing is known about its content."""


class BundleError(SpheroCoreError):
    """The model bundle is missing, incomplete or altered."""


class DatasetError(SpheroCoreError):
    """An annotated data set cannot be read as it stands."""
