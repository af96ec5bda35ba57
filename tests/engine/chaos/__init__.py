# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
Killing a live Airflow at chosen moments, and counting what it cost.

``site/``      what a component of the stack loads to have crash points; nothing else can reach them
``points``     the names of the crash points
``rendezvous`` the harness's side of a crash point: arm it, see it hit, let go on
``world``      an Airflow, its database, the ledger's, the vendor, Redis: each can be struck and revived
``judge``      what was paid, what was landed, what is told: from the vendor's book, the ledger and the files
``cases``      the matrix: which signal strikes what, while which work is where
``matrix``     runs cases and writes a record of each
``soak``       random blows for a long time
``table``      records to the tables of docs/reliability.md
"""
