# Licensed under the Apache License, Version 2.0. See LICENSE.
"""A bulk run in virtual time: the product's own runner and policies, without threads, sockets or sleeping."""
