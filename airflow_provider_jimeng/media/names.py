# Licensed under the Apache License, Version 2.0. See LICENSE.
"""What the product's own files beside results are called."""

from __future__ import annotations

#: Beside the wanted names, results that had to make way, or that found their name taken, are kept here.
SAFE_FOLDER = ".jimeng"
#: What in the safe folder tells which ledger paid for what is there.
NOTE = "ledger.json"
