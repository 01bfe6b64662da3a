"""JSON Schemas (2020-12) of every message and every event type, from the models.

msgspec says the shapes; this adds what the types cannot: descriptions from the text under each member, that null
means absent in an event's data, that an event is about something, and that integers stay exact in every reader.
"""

import ast
import copy
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from docs.generator import feeds
from sync import events, messages

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
EXACT = 2**53 - 1  # RFC 8259 §6: what every JSON reader keeps exactly

# The schema's name in docs/schemas/, and its model.
MODELS: dict[str, Any] = {
    "hello": messages.Hello,
    "event": messages.Event,
    "events": list[messages.Event],
    "state": messages.State,
    "reply": messages.Reply,
    "ack": messages.Ack,
    "reference": messages.Reference,
    "reference-delta": messages.ReferenceDelta,
    "tasks": messages.Tasks,
    "command": messages.Command,
    "stock": feeds.Stock,
    "movements": list[feeds.Movement],
}

PREVIOUS: Schema = {
    "description": "In event 1 of an incarnation: the one before it, even an empty one; null in a new journal.",
    "anyOf": [
        {
            "type": "object",
            "properties": {
                "incarnation": {"type": "string", "pattern": messages.INCARNATION_ID},
                "last_sequence": {"type": "integer", "minimum": 0, "maximum": EXACT},
            },
            "required": ["incarnation", "last_sequence"],
        },
        {"type": "null"},
    ],
}


def build() -> dict[str, Schema]:
    """Every schema by its name: the messages, and one `event-…` per event type."""
    shapes, components = _components([*MODELS.values(), *set(events.TYPES.values())], "#/$defs/{name}")
    found = dict(zip(MODELS, shapes, strict=False))
    found["events"]["minItems"] = 1
    for type_name, model in events.TYPES.items():
        found[schema_name(type_name)] = _event(type_name, model, components)
    return {name: _complete(name, shape, components) for name, shape in found.items()}


def schema_name(event_type: str) -> str:
    """`tallyman.put_away.v1` → `event-put-away`."""
    return f"event-{str(events.event_name(event_type)).replace('_', '-')}"


def _components(types: list[Any], ref_template: str) -> tuple[list[Schema], dict[str, Schema]]:
    """msgspec's schemas of `types`, with everything added that a model says beside its types."""
    shapes, components = msgspec.json.schema_components(types, ref_template=ref_template)
    models = {model.__name__: model for model in _structs()}
    for name, schema in components.items():
        _describe(schema, models[name])
        _require_constants(schema)
        for node in _nodes(schema):
            if node.get("type") == "integer":
                node.setdefault("maximum", EXACT)
                node.setdefault("minimum", -EXACT)
        if issubclass(models[name], events.Data):
            _accept_nulls(schema)
            schema["properties"]["previous"] = PREVIOUS
        if issubclass(models[name], events.About):
            schema["anyOf"] = [_names_it(subject) for subject in events.SUBJECTS]
    return list(shapes), components


def _structs() -> Iterator[type[msgspec.Struct]]:
    for module in (messages, events, feeds):
        for value in vars(module).values():
            if inspect.isclass(value) and issubclass(value, msgspec.Struct):
                yield value


def _describe(schema: Schema, model: type[msgspec.Struct]) -> None:
    """Give each member the text that stands under it in the model."""
    for base in reversed(model.__mro__):
        if not issubclass(base, msgspec.Struct) or base.__module__.startswith("msgspec"):
            continue
        body = ast.parse(textwrap.dedent(inspect.getsource(base))).body[0]
        assert isinstance(body, ast.ClassDef)
        for member, text in zip(body.body, body.body[1:], strict=False):
            if not (isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name)):
                continue
            if isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant):
                properties = schema["properties"]
                properties[member.target.id.rstrip("_")]["description"] = inspect.cleandoc(
                    str(text.value.value)
                )


def _require_constants(schema: Schema) -> None:
    """A member with one possible value must stand: our reader forgives its absence, other readers need not."""
    for name, member in schema["properties"].items():
        if len(member.get("enum", ())) == 1:
            member["const"] = member.pop("enum")[0]
            member.pop("default", None)
            if name in ("specversion", "kind") and name not in schema["required"]:
                schema["required"].insert(0, name)


def _accept_nulls(schema: Schema) -> None:
    """In an event's data null is the same as absent."""
    required = schema.get("required", [])
    for name, member in schema["properties"].items():
        if name not in required and {"type": "null"} not in member.get("anyOf", ()):
            outside = {key: member.pop(key) for key in ("default", "description") if key in member}
            schema["properties"][name] = {"anyOf": [member, {"type": "null"}], **outside}


def _names_it(subject: str) -> Schema:
    return {"required": [subject], "properties": {subject: {"type": "string"}}}


def _event(type_name: str, model: type[events.Data], components: dict[str, Schema]) -> Schema:
    """The envelope with this type and its data."""
    schema = copy.deepcopy(components["Event"])
    schema["title"] = type_name
    schema["description"] = inspect.cleandoc(model.__doc__ or "")
    schema["properties"]["type"] = {"const": type_name}
    schema["properties"]["data"] = {"$ref": f"#/$defs/{model.__name__}"}
    return schema


def _complete(name: str, shape: Schema, components: dict[str, Schema]) -> Schema:
    """A document of its own: the root's members in place, what it refers to under `$defs`."""
    root = copy.deepcopy(shape)
    if set(root) == {"$ref"}:
        root = copy.deepcopy(components[root["$ref"].rsplit("/", 1)[1]])
    needed: dict[str, Schema] = {}
    _collect(root, components, needed)
    document = {"$schema": DIALECT, "$id": f"urn:tallyman:schema:v1:{name}", **root}
    return {**document, "$defs": {key: needed[key] for key in sorted(needed)}} if needed else document


def _collect(schema: Schema, components: dict[str, Schema], needed: dict[str, Schema]) -> None:
    for node in _nodes(schema):
        if isinstance(ref := node.get("$ref"), str):
            name = ref.rsplit("/", 1)[1]
            if name not in needed:
                needed[name] = components[name]
                _collect(components[name], components, needed)


def _nodes(value: Any) -> Iterator[Schema]:
    """Every object in `value`, however deep."""
    if isinstance(value, dict):
        yield value
        for member in list(value.values()):
            yield from _nodes(member)
    elif isinstance(value, list):
        for member in value:
            yield from _nodes(member)


def moved(schema: Schema, place: Callable[[str], str]) -> Schema:
    """The schema with its references under `$defs` pointing to `place(name)` instead."""
    result = copy.deepcopy(schema)
    for node in _nodes(result):
        if isinstance(ref := node.get("$ref"), str):
            node["$ref"] = place(ref.rsplit("/", 1)[1])
    return result
