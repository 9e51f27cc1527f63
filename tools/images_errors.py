"""What can go wrong around images.

* ImagesError
  x PackagesRefused    a Debian package cannot be had, or is not the one that is pinned
  x RecipeRefused      the Containerfile says something that the builder without an engine cannot follow
  x ImageBuildFailed   pip, Python or an engine failed
"""


class ImagesError(Exception):
    """Something about images went wrong; the message says what, where and what next."""


class PackagesRefused(ImagesError):
    """A Debian package cannot be had, or is not the one that is pinned."""


class RecipeRefused(ImagesError):
    """The Containerfile says something that the builder without an engine cannot follow."""


class ImageBuildFailed(ImagesError):
    """A program that builds ended badly; the message holds its last words."""
