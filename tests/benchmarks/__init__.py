# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Measurements on real components; run by hand, never by the test suite."""
