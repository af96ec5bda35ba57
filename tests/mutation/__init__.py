# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
How much the tests of some folders notice: the code is changed in one place, and a test should fail.

``python -m tests.mutation airflow_provider_jimeng/policy --tests tests/policy tests/lifecycle``

Changes are of comparisons, boolean and arithmetic operators, conditions, constants and returned values. No
file is written. The tests are collected once and run once with coverage, so that it is known which test runs
which line. Then each change gets a forked process, in which the changed function stands in the place of the
usual one (:mod:`.live`), and runs the tests of its line until one fails: those that noticed changes of the
file first, then those that run most of it in a second. What is done at import (constants, tables, defaults)
can't be changed so late: then the changed module is imported, in a process of its own that has nothing of the
product in it yet.
"""
