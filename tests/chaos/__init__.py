"""Faults at random against real bridges, and an oracle that knows what must hold all the same.

    writers ─▶ PostgreSQL ─▶ a proxy each ─▶ bridge processes ─▶ balancer ─▶ followers
                                   ▲ faults, in two lanes

schema     random tables, and what of them each topic must hold            pure
workload   writers: random transactions, and a journal of what they did
witness    what a follower was told, and all that it must never be told    pure
followers  WebSocket and SSE clients that hop between the instances
fleet      the bridge processes, the balancer, the links to the database
faults     what goes wrong, by the name it has in a report
arena      one round: everything above, phases of faults, calms in which all is compared
report     counts, times to converge; a table, and JSON

Nothing here is part of the wheel. `./dev chaos` runs it for minutes, a test for seconds. A
seed decides on the schema, the writes and the faults; when they meet is up to the machine.
"""
