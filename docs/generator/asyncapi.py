"""The AsyncAPI 3.0 document: channels, who sends and who receives, and messages with schemas and examples.

One row per message in ROWS; everything else follows from it, the schemas and the contract's examples.
"""

from dataclasses import dataclass
from typing import Any, Literal

from docs.generator.schemas import Schema, moved
from sync import messages

Side = Literal["agent", "central", "everybody"]


@dataclass(frozen=True)
class Row:
    """One message: the channel it travels on, who sends it to whom, and what it is for."""

    name: str
    channel: str
    sender: Side
    receiver: Side
    summary: str
    content_type: str = "application/json"


BATCH = "application/cloudevents-batch+json"
ROWS = (
    Row("hello", "hello", "agent", "central", "Who the agent is and where its journal stands."),
    Row(
        "events", "events", "agent", "central", "What happened: one incarnation, contiguous sequences.", BATCH
    ),
    Row("state", "state", "agent", "central", "The agent's condition; retained, and its last will."),
    Row("reply", "replies", "agent", "central", "The answer to a command."),
    Row("ack", "acks", "central", "agent", "How far central has come, and the verdicts."),
    Row("reference", "reference", "central", "agent", "One part of a snapshot of the reference data."),
    Row("reference-delta", "reference", "central", "agent", "What changed in the reference data."),
    Row("tasks", "tasks", "central", "agent", "Work for a person at the agent's site."),
    Row("command", "commands", "central", "agent", "Something central asks of the agent's program."),
    Row("stock", "stock", "central", "everybody", "The availability of one SKU; retained."),
    Row("movements", "movements", "central", "everybody", "Booked movements in central's order.", BATCH),
)
RETAINED = ("state", "stock")
PARAMETERS: dict[str, Schema] = {
    "agent": {"description": "The agent's id: 1 to 32 of a-z, 0-9 and -. It is its MQTT client id too."},
    "sku": {"description": "The SKU; bytes outside [A-Za-z0-9_-] are percent-encoded."},
}
ADDRESSES = {
    "stock": f"{messages.PREFIX}/stock/{{sku}}",
    "movements": messages.MOVEMENTS_TOPIC,
}


def build(schemas: dict[str, Schema], examples: dict[str, list[Any]], version: str) -> Schema:
    """The document as one value."""
    return {
        "asyncapi": "3.0.0",
        "id": "urn:tallyman:contract:v1",
        "info": {
            "title": "Tallyman",
            "version": version,
            "description": "What agents and central say to each other over MQTT. The rules are in contract.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "broker": {
                "host": "127.0.0.1:1883",
                "protocol": "mqtt",
                "protocolVersion": "5.0",
                "description": "Any MQTT broker, 5.0 or 3.1.1. Its memory is never relied on.",
            }
        },
        "channels": {channel: _channel(channel) for channel in dict.fromkeys(row.channel for row in ROWS)},
        "operations": _operations(),
        "components": {
            "messages": {row.name: _message(row, schemas, examples) for row in ROWS},
            "schemas": _schemas(schemas),
        },
    }


def address(channel: str) -> str:
    """The topic of a channel, with its parameters in braces."""
    return ADDRESSES.get(channel, f"{messages.PREFIX}/agents/{{agent}}/{channel}")


def _channel(channel: str) -> Schema:
    topic = address(channel)
    rows = [row for row in ROWS if row.channel == channel]
    value: Schema = {
        "address": topic,
        "description": " ".join(row.summary for row in rows),
        "messages": {row.name: {"$ref": f"#/components/messages/{row.name}"} for row in rows},
    }
    if named := {name: text for name, text in PARAMETERS.items() if f"{{{name}}}" in topic}:
        value["parameters"] = named
    return value


def _operations() -> Schema:
    """Both sides of every channel: the sender's `send` and the receiver's `receive`."""
    found: Schema = {}
    for row in ROWS:
        for side, action in ((row.sender, "send"), (row.receiver, "receive")):
            name = f"{side}-{action}s-{row.name}"
            found[name] = {
                "action": action,
                "title": f"{side.capitalize()} {action}s {row.name}",
                "summary": row.summary,
                "tags": [{"name": side}],
                "channel": {"$ref": f"#/channels/{row.channel}"},
                "messages": [{"$ref": f"#/channels/{row.channel}/messages/{row.name}"}],
                "bindings": {"mqtt": _binding(row, action)},
            }
    return found


def _binding(row: Row, action: str) -> Schema:
    binding: Schema = {"qos": 1, "bindingVersion": "0.2.0"}
    if action == "send":
        binding["retain"] = row.name in RETAINED
    return binding


def _message(row: Row, schemas: dict[str, Schema], examples: dict[str, list[Any]]) -> Schema:
    payload: Schema = {"$ref": f"#/components/schemas/{row.name}"}
    if row.name == "events":
        types = sorted(name for name in schemas if name.startswith("event-"))
        payload = {
            "type": "array",
            "minItems": 1,
            "items": {"anyOf": [{"$ref": f"#/components/schemas/{name}"} for name in types]},
        }
    return {
        "name": row.name,
        "title": row.name.capitalize(),
        "summary": row.summary,
        "contentType": row.content_type,
        "payload": payload,
        "examples": [{"payload": example} for example in examples[row.name]],
    }


def _schemas(schemas: dict[str, Schema]) -> dict[str, Schema]:
    """Every schema and everything under `$defs`, side by side; AsyncAPI names neither dialect nor id inside."""
    found: dict[str, Schema] = {}
    for name, schema in schemas.items():
        root = {key: value for key, value in schema.items() if not key.startswith("$") or key == "$ref"}
        found[name] = moved(root, "#/components/schemas/{}".format)
        for inner, definition in schema.get("$defs", {}).items():
            found[inner] = moved(definition, "#/components/schemas/{}".format)
    return {name: found[name] for name in sorted(found)}
