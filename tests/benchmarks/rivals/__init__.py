# Licensed under the Apache License, Version 2.0. See LICENSE.
"""
What people would write instead of using this provider, measured beside it on the same Airflow.

``theirs``      the calls that the rivals share, and the deferrable operator with its trigger
``dags``        the DAGs, theirs and ours
``contenders``  who they are
``site``        one installation for all of them: Airflow, PostgreSQL, the local vendor
``rounds``      what each is put through, one after the other
``money``       what it cost, from the vendor's book and the files; pure
``table``       records into the tables of docs/comparison.md
"""
