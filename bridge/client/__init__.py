"""A subscriber in Python: follows topics, and comes back when the line drops.

    async with Client("http://127.0.0.1:8765") as client:
        orders = await client.state("orders")
        await orders.until(lambda orders: orders[42]["status"] == "paid")

It keeps the client rules of docs/protocol.md. Nothing here is shared with the bridge but
its errors: what it knows of the wire, it knows from the protocol.
"""

from bridge.client.client import Client as Client
from bridge.client.connection import messages as messages
from bridge.client.replica import Changed as Changed
from bridge.client.replica import Replica as Replica
from bridge.client.wire import Change as Change
from bridge.client.wire import Entry as Entry
from bridge.client.wire import Event as Event
from bridge.client.wire import Lost as Lost
from bridge.client.wire import Message as Message
from bridge.client.wire import Refused as Refused
from bridge.client.wire import Snapshot as Snapshot
from bridge.client.wire import Status as Status
from bridge.client.wire import Subscribed as Subscribed
