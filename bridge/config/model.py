"""The keys of the config file: the one list of them, with what each means.

Editors' JSON Schema is generated from here (`python -m bridge.config.model`), so the
descriptions below are what people read while typing. A key that is left out stays
None: defaults belong to the dataclasses of `bridge.config` alone, and the ones named
here are for editors; a test holds them against each other.
"""

# No `from __future__ import annotations`: pydantic reads these at run time.
import json
import sys
from typing import Annotated, Any

from pydantic import BeforeValidator, ConfigDict, Field
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from bridge.config import values
from bridge.config.auth_model import Allow, Auth, Jwt, OpenOrAuth, Rls
from bridge.config.kinds import (
    Audit,
    Column,
    Columns,
    ColumnsOrAll,
    Conninfo,
    Count,
    Duration,
    Flag,
    Host,
    Mode,
    Network,
    Operations,
    Origin,
    Port,
    PublicName,
    Relation,
    Retention,
    Role,
    Schema,
    Size,
    Sql,
    Text,
    Through,
    Topics,
    Trail,
    Trigger,
    Volume,
)
from bridge.config.sections import Section, empty
from bridge.config.sections import key as _key


class Table(Section):
    """One watched table."""

    table: Relation | None = _key(
        "The table in the catalog, exact and case-sensitive, if it is not the public name. "
        "Quote names with dots or spaces, or write [schema, name].",
        examples=["orders", "billing.orders", 'billing."Invoice 2024"'],
    )
    key: Columns | None = _key(
        "Columns that identify a row. Default: the primary key.", examples=[["id"]]
    )
    topics: Topics | None = _key(
        "Where a row's changes go; {column} fills a whole path segment. "
        "Default: the public name, and the public name with the key behind it.",
        examples=[["orders", "orders/{id}"]],
    )
    columns: ColumnsOrAll = _key(
        "The only columns that leave the database; all says in writing that it is every one, "
        "which auth asks for. Default: every one."
    )
    exclude: list[Column] | None = _key(
        "Columns that stay in the database; not together with columns. One that is added to the "
        "table later is not sent before the next migrate.",
        default=[],
    )
    document: Relation | None = _key(
        "A view or table with the same key columns, sent in place of the row; columns and "
        "exclude then speak of its columns.",
        examples=["billing.invoice_documents"],
    )
    refreshes: PublicName | None = _key(
        "Another table of this file, by its public name: a change here sends the row of it that "
        "this row belongs to. Without topics of its own this table is then not served.",
        examples=["orders"],
    )
    through: Through | None = _key(
        "For refreshes: own column → key column of the other table. "
        "Default: the single foreign key to it.",
        examples=[{"order_id": "id"}],
    )
    where: Sql | None = _key(
        "An SQL condition on the row; what does not meet it is not in the topics.",
        examples=["status <> 'draft'"],
    )
    operations: Operations | None = _key(
        "The only operations that count.", default=[*values.OPERATIONS]
    )
    changed: Columns | None = _key(
        "An update counts only if one of these changed, or a key or topic column. "
        "Default: any column."
    )
    trigger: Trigger | None = _key(
        "row: for a table that logical replication writes to, or whose partitions are written "
        "directly.",
        default="statement",
    )
    mode: Mode | None = _key(
        "state: the latest row of a key wins. log: an append-only table whose rows are each sent "
        "once, in the order in which they were committed.",
        default="state",
    )
    position: Column | None = _key("For mode: log, the column that orders rows. Default: the key.")
    durable: Flag | None = _key("As at the top of the file, for this table.")
    audit: Audit | None = _key(
        "Write down who changed which row, and when, in the same transaction; with values also "
        "what these columns had and have, or, if true, all of them.",
        default=False,
        examples=[{"values": ["status"]}],
    )
    debounce: Duration | None = _key("As at the top of the file, for this table.")
    max_wait: Duration | None = _key("As at the top of the file, for this table.")
    leading: Flag | None = _key("As at the top of the file, for this table.")


class Tls(Section):
    """TLS for the bridge's own port."""

    model_config = ConfigDict(json_schema_extra={"type": "object"})

    cert: Text = Field(description="The certificate's file, with those that vouch for it, in PEM.")
    key: Text = Field(description="Its key's file, in PEM, without a password.")


class Server(Section):
    """Where subscribers connect."""

    host: Host | None = _key("The address or name to listen on.", default="127.0.0.1")
    port: Port | None = _key("The port for everything; 0 takes a free one.", default=8765)
    allowed_origins: list[Origin] | None = _key(
        "Origins of web pages that may connect, beside the server's own.", default=[]
    )
    proxies: list[Network] | None = _key(
        "Addresses of proxies in front, whose X-Forwarded-For is believed.",
        default=[],
        examples=[["127.0.0.1", "10.0.0.0/8"]],
    )
    inspector: Flag | None = _key("Serve the inspector page at /.", default=False)
    tls: Tls | None = _key(
        "Speak TLS: wss:// and https://. The files are read again when they change."
    )
    drain: Duration | None = _key(
        "How long subscribers may take to leave when the bridge stops.", default="20s"
    )
    workers: Count | None = _key(
        "Processes that share the port, each an instance by itself; for more than one core.",
        default=1,
    )


class Limits(Section):
    """What one instance takes on."""

    connections: Count | None = _key("Connections at the same time.", default=10000)
    user_connections: Count | None = _key(
        "Connections of one user at the same time, with auth.", default=50
    )
    address_rate: Count | None = _key(
        "New connections from one address per second; behind a proxy, see server.proxies.",
        default=1000,
    )
    subscriptions: Count | None = _key("Topics per connection.", default=200)
    command_rate: Count | None = _key("Commands per connection and second.", default=100)
    message: Size | None = _key("The largest message a subscriber may send.", default="64KiB")
    headers: Size | None = _key("The longest request, without a body.", default="16KiB")
    snapshot_rows: Count | None = _key("The most rows a topic's snapshot may have.", default=10000)
    row: Size | None = _key("The largest row that is sent, as JSON; not of a log.", default="1MiB")
    handshake: Duration | None = _key(
        "How long a connection may take to send its request and take the answer.", default="10s"
    )
    unauthenticated: Duration | None = _key(
        "How long a WebSocket may take to send a token, with auth.", default="10s"
    )


class File(Section):
    """Rowcast's config file."""

    model_config = ConfigDict(
        json_schema_extra={
            "type": "object",
            "anyOf": [{"required": ["tables"]}, {"required": ["events"]}],
        }
    )

    database: Conninfo | None = _key(
        "PostgreSQL, as a URI or key=value string. Default: the environment's DATABASE_URL.",
        examples=["${DATABASE_URL}"],
    )
    listen: Conninfo | None = _key(
        "A direct connection for LISTEN, where database goes through a transaction pooler. "
        "Default: database.",
        examples=["${DIRECT_URL}"],
    )
    debounce: Duration | None = _key(
        "A key that changed goes out after this much quiet.", default="100ms"
    )
    max_wait: Duration | None = _key(
        "A key that never falls quiet goes out this often.", default="1s"
    )
    leading: Flag | None = _key(
        "The first change of a quiet key goes out at once, not after debounce.", default=True
    )
    durable: Flag | None = _key(
        "Changes are also kept in the database, so that subscribers can resume.", default=False
    )
    retention: Retention | None = _key(
        "How long kept changes can be resumed from, at least.", default="24h"
    )
    retention_size: Volume | None = _key(
        "How much of the database kept changes may take; the oldest go first.", default="1GiB"
    )
    audit_retention: Trail | None = _key(
        "How long what is audited is kept, at least.", default="90d"
    )
    events: Flag | None = _key(
        "Make rowcast.events and rowcast.publish(), and serve what is published there as the "
        "topics events and events/{channel}.",
        default=False,
    )
    reconcile: Duration | None = _key(
        "How often what is subscribed is compared with the tables; 0 turns it off.", default="60s"
    )
    schema_: Schema | None = Field(
        default=None,
        alias="schema",
        description="The schema for the bridge's own objects, and its NOTIFY channel's name.",
        json_schema_extra={"default": "rowcast"},
    )
    definer: Role | None = _key(
        "A role that can do nothing else, to own what writes to the bridge's schema and what it "
        "writes to. Default: whoever migrates.",
        examples=["rowcast_definer"],
    )
    auth: OpenOrAuth | None = _key(
        "Who may see what; or none: whoever can connect may read everything that is watched. "
        "One of the two is needed to serve on an address other than a loopback one."
    )
    tables: dict[PublicName, Annotated[Table, BeforeValidator(empty)]] | None = _key(
        "Watched tables by public name; an entry may be empty. Needed, but beside events."
    )
    server: Annotated[Server, BeforeValidator(empty)] | None = None
    limits: Annotated[Limits, BeforeValidator(empty)] | None = None


SECTIONS: dict[str, type[Section]] = {
    "": File,
    "tables": Table,
    "server": Server,
    "server.tls": Tls,
    "limits": Limits,
    "auth": Auth,
    "auth.jwt": Jwt,
    "auth.allow": Allow,
    "auth.rls": Rls,
}


def keys(section: str) -> tuple[str, ...]:
    """The accepted keys of the file (`""`), of a table (`tables`), or of a section by its path."""
    fields = SECTIONS[section].model_fields
    return tuple(field.alias or name for name, field in fields.items())


class _ForEditors(GenerateJsonSchema):
    """None means "left out" in the model; in the file it would be an empty value."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def field_title_should_be_set(self, schema: Any) -> bool:  # noqa: ARG002
        return False


def json_schema() -> str:
    """`bridge/config.schema.json`, as it has to be."""
    schema = File.model_json_schema(schema_generator=_ForEditors)
    for section in (schema, *schema["$defs"].values()):
        section.pop("title", None)
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Rowcast config"}
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(json_schema())
