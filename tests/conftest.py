"""Settings that all tests share."""

from hypothesis import settings

# The first example of a property may compile a kernel; time is not what the tests judge.
settings.register_profile("lethe", deadline=None, print_blob=True)
settings.load_profile("lethe")
