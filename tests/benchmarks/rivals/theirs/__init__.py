# Licensed under the Apache License, Version 2.0. See LICENSE.
"""Code of the rivals: what a competent engineer writes after reading the vendor's page and SDK."""
