"""Faults at random against real bridges, and an oracle that knows what must hold all the same.

    writers ─▶ PostgreSQL ─▶ a proxy each ─▶ bridge processes ─▶ balancer ─▶ followers
                                   ▲ faults, in two lanes

schema     random tables, and what of them each topic must hold            pure
workload   writers: random transactions
journal    what they did, and when the database was out of their reach
witness    what a follower was told, and all that it must never be told    pure
reading    the same of a log topic: every row once, in one order           pure
history    what holds of all followers together                            pure
followers  WebSocket and SSE clients that hop between the instances
fleet      the bridge processes, the balancer, the links to the database
cluster    the server, or the standby that has taken its place
faults     what goes wrong, by the name it has in a report
arena      one round: everything above, phases of faults, calms in which all is compared
report     counts, times to converge; a table, and JSON

Nothing here is part of the wheel. `./dev chaos` runs it for minutes, a test for seconds. A
seed decides on the schema, the writes and the faults; when they meet is up to the machine.
"""
