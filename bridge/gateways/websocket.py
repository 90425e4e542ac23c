"""One WebSocket from its welcome to its end: the commands that it sends."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from bridge import wire
from bridge.errors import LimitError, ProtocolError, TokenError
from bridge.gateways.access import Stay
from bridge.wire import CloseCode

if TYPE_CHECKING:
    from bridge.auth.tokens import Grant
    from bridge.gateways.access import Access
    from bridge.gateways.connection import Connection
    from bridge.gateways.limits import Limits
    from bridge.hub import Hub
    from bridge.viewer import Viewer
    from bridge.wire import Message


class Session:
    """A subscriber who may speak. `patience` is the seconds it has to send a token."""

    __slots__ = (
        *("_access", "_connection", "_hub", "_limits", "_mailbox", "_pace", "_patience"),
        *("_seat", "_stay"),
    )

    def __init__(
        self, connection: Connection, hub: Hub, access: Access, limits: Limits, patience: float
    ) -> None:
        self._connection = connection
        self._hub = hub
        self._access = access
        self._limits = limits
        self._pace = connection.pace = limits.commands(connection.loop.time())
        self._seat: ExitStack | None = None
        self._stay = Stay(connection.end)
        self._patience = patience

    async def run(self, grant: Grant | None, greeting: Message) -> None:
        """Returns when the connection is gone. Raises LimitError if the user has too many."""
        if grant is not None:
            self._sit(grant)
        self._mailbox = self._connection.mailbox = self._hub.join(
            self._connection, greeting, self._permit
        )
        try:
            self._begin(grant)
            async for frame in self._connection:
                await self._take(frame)
                # Who asks without reading the answers is not listened to meanwhile.
                await self._connection.drain()
        except (ConnectionClosed, ConnectionError):
            pass
        finally:
            self._stay.over()
            if self._seat is not None:
                self._seat.close()
            self._hub.leave(self._mailbox)

    def _begin(self, grant: Grant | None) -> None:
        if grant is not None:
            self._stay.begin(grant)
        elif self._access.guarded:
            self._stay.wait(self._patience)

    def _sit(self, grant: Grant) -> None:
        self._seat = self._seat or ExitStack()
        self._seat.enter_context(self._limits.seat(grant.user))

    async def _take(self, frame: str | bytes) -> None:
        about: dict[str, object] = {}
        try:
            if not self._pace.take(self._connection.loop.time()):
                raise self._limits.passed("too many commands; slow down")
            command = wire.parse(frame)
            about = {name: getattr(command, name, None) for name in ("topic", "id")}
            await self._obey(command)
        except TokenError as error:
            self._connection.end(*farewell(error))
        except LimitError as error:
            self._connection.end(CloseCode.OVER_LIMIT, str(error))
        except ProtocolError as error:
            self._mailbox.reply(wire.error(error.code, str(error), **about))  # type: ignore[arg-type]

    async def _obey(self, command: wire.Command) -> None:
        match command:
            case wire.Subscribe():
                self._hub.subscribe(self._mailbox, command)
            case wire.Unsubscribe(topic=topic):
                self._hub.unsubscribe(self._mailbox, topic)
            case wire.Authenticate(token=token):
                self._renew(await self._access.admit(token))
            case wire.Ping():
                self._mailbox.reply(wire.pong())

    def _permit(self, topic: str) -> Viewer:
        return self._access.check(self._stay.grant, topic)

    def _renew(self, grant: Grant | None) -> None:
        """Another token of the same user: what it does not allow any more ends here."""
        if grant is None:
            self._mailbox.reply(wire.authenticated(None))
            return
        if self._stay.grant is None:
            self._sit(grant)
        elif grant.user != self._stay.grant.user:
            raise TokenError("the token is another user's; open a connection for it")
        self._stay.begin(grant)
        self._mailbox.reply(wire.authenticated(grant.expires))
        for topic in self._hub.followed(self._mailbox):
            try:
                self._permit(topic)
            except ProtocolError as error:
                self._hub.revoke(self._mailbox, topic, error)
        self._hub.look(self._mailbox)


def farewell(error: ProtocolError) -> tuple[int, str]:
    """How a WebSocket ends because of its token."""
    if isinstance(error, TokenError) and error.expired:
        return CloseCode.TOKEN_EXPIRED, str(error)
    return CloseCode.BAD_TOKEN, str(error)
