"""docs/: what is generated is what the models say now, and every example on the contract page is a valid one."""

import copy
import inspect
import json
import re
import typing
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel

import agent.config
import central.config
from central.api.problems import PROBLEMS
from docs.generator import asyncapi, schemas
from docs.generator.__main__ import DOCS, differences, main
from docs.generator.examples import blocks, examples
from sync import content, events, messages

PAGE = (DOCS / "contract.md").read_text(encoding="utf-8")
EXAMPLES = examples(PAGE)
SCHEMAS = schemas.build()
DATA: dict[str, Any] = EXAMPLES["event-data"][0]
NOT_MESSAGES = {"event-data", "problem", "read"}


def test_generated_files_are_what_the_models_say():
    assert differences() == [], "run `make contract` and commit what it writes"


def test_check_says_what_to_do(capsys, monkeypatch):
    monkeypatch.setattr("docs.generator.__main__.differences", lambda: ["schemas/ack.json"])
    assert main(["--check"]) == 1
    assert "schemas/ack.json. Run `make contract`" in capsys.readouterr().err
    assert main(["--wrong"]) == 2


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_schema_is_valid_and_complete(name):
    Draft202012Validator.check_schema(SCHEMAS[name])
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(SCHEMAS[name])):
        assert reference.removeprefix("#/$defs/") in SCHEMAS[name]["$defs"]


def test_there_is_a_schema_for_every_event_type():
    assert {schemas.schema_name(name) for name in events.TYPES} == {
        n for n in SCHEMAS if n.startswith("event-")
    }


@pytest.mark.parametrize("name", sorted(EXAMPLES.keys() - NOT_MESSAGES))
def test_every_example_is_valid(name):
    for example in EXAMPLES[name]:
        jsonschema.validate(example, SCHEMAS[name])
        assert decodes(name, example)


def test_every_message_has_an_example():
    assert set(schemas.MODELS) <= EXAMPLES.keys()


@pytest.mark.parametrize("type_name", events.TYPES)
def test_every_event_type_has_a_valid_example(type_name):
    jsonschema.validate(wrapped(type_name, DATA[type_name]), SCHEMAS[schemas.schema_name(type_name)])
    events.check(type_name, DATA[type_name])


def test_the_batch_example_holds_valid_events():
    for event in [*EXAMPLES["events"][0], *EXAMPLES["event"]]:
        jsonschema.validate(event, SCHEMAS[schemas.schema_name(event["type"])])


def test_the_content_hash_on_the_page_is_that_of_its_event():
    event = EXAMPLES["event"][0]
    stated = blocks(PAGE, "text")["content-hash"][0].strip()
    assert content.content_hash(type=event["type"], time=event["time"], data=event["data"]) == stated


def test_the_page_names_every_topic_schema_and_event():
    for row in asyncapi.ROWS:
        assert f"`{asyncapi.address(row.channel)}`" in PAGE
        assert f"(schemas/{row.name}.json)" in PAGE
    for type_name in events.TYPES:
        assert f"`{events.event_name(type_name)}`" in PAGE


def test_the_page_names_every_problem_with_its_status():
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    for code, kind in PROBLEMS.items():
        (row,) = [row for row in rows if f"`{code}`" in row.split("|")[1] and re.search(r"\| \d{3}", row)]
        assert str(kind.status) in row, code


def test_links_within_the_page_lead_somewhere():
    anchors = {re.sub(r"[^\w -]", "", line.lstrip("# ").lower()).replace(" ", "-") for line in headings()}
    assert set(re.findall(r"\]\(#([^)]+)\)", PAGE)) <= anchors
    for path in re.findall(r"\]\((?!#|https?:)([^)]+)\)", PAGE):
        if not path.startswith("../"):
            assert (DOCS / path).exists(), path


def headings() -> list[str]:
    return [line for line in PAGE.splitlines() if line.startswith("#")]


@pytest.mark.parametrize(("name", "load"), [("agent", agent.config.load), ("central", central.config.load)])
def test_configuration_examples_are_accepted(name, load, tmp_path):
    for secret in ("ca.pem", "dock-2.pem", "dock-2.key"):
        (tmp_path / secret).touch()
    (tmp_path / "example.toml").write_text(blocks(PAGE, "toml")[name][0], encoding="utf-8")
    assert load(tmp_path / "example.toml").mqtt.url


def keys(model: type[BaseModel]) -> Iterator[tuple[str, str]]:
    """(table, key) of every key that a file may hold; what a table takes over from another one stands there."""
    tables = set()
    for table, section in model.model_fields.items():
        kinds = (section.annotation, *typing.get_args(section.annotation))
        (inner,) = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, BaseModel)]
        brackets = f"[[{table}]]" if typing.get_origin(section.annotation) is tuple else f"[{table}]"
        taken = {key for other in tables if issubclass(inner, other) for key in other.model_fields}
        tables.add(inner)
        own = {key: field for key, field in inner.model_fields.items() if key not in taken}
        yield from ((brackets, field.alias or key) for key, field in own.items())


@pytest.mark.parametrize("model", [agent.config.AgentConfig, central.config.CentralConfig])
def test_the_page_names_every_configuration_key(model):
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `[")]
    for table, key in keys(model):
        assert any(f"`{table} " in row and re.search(rf"[ `]{key}`", row) for row in rows), (table, key)


# --- the decoder and the schemas say the same ----------------------------------------------------

# Our reader forgives these; a writer must not rely on it, so the schemas do not.
FORGIVEN = {("specversion",), ("kind",), ("data", "previous"), ("previous",)}
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1.5,
    "",
    "x",
    "x" * 201,
    "line\n",
    "nul\0",
    [],
    {},
    [None],
    {"x": 1},
)


def decodes(name: str, value: Any) -> bool:
    payload = json.dumps(value).encode()
    try:
        if name == "events":
            messages.decode_batch(payload)
        else:
            messages.decode(payload, schemas.MODELS[name])
    except messages.Unreadable:
        return False
    return True


def mutations(value: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """(place, the whole value with that place removed or replaced by something wrong or strange)."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            for wrong in (*WRONG, ...):
                changed = copy.deepcopy(value)
                if wrong is ...:
                    del changed[key]
                else:
                    changed[key] = wrong
                yield (*place, key), changed
            for inner, changed_inside in mutations(value[key], (*place, key)):
                changed = copy.deepcopy(value)
                changed[key] = changed_inside
                yield inner, changed


@pytest.mark.parametrize("name", sorted(schemas.MODELS))
def test_decoder_and_schema_agree_on_messages(name):
    validator = Draft202012Validator(SCHEMAS[name])
    differ = []
    for example in EXAMPLES[name]:
        for place, changed in mutations(example):
            by_schema, by_decoder = validator.is_valid(changed), decodes(name, changed)
            plain = tuple(step for step in place if isinstance(step, str))
            # That sequences follow each other is a rule about a batch, which no schema can say.
            forgiven = (by_decoder and plain in FORGIVEN) or (name == "events" and by_schema)
            if by_schema != by_decoder and not forgiven:
                differ.append((place, by_schema, by_decoder))
    assert differ == []


@pytest.mark.parametrize("type_name", {model: name for name, model in events.TYPES.items()}.values())
def test_decoder_and_schema_agree_on_event_data(type_name):
    validator = Draft202012Validator(SCHEMAS[schemas.schema_name(type_name)])
    differ = []
    for place, changed in mutations(DATA[type_name]):
        try:
            events.check(type_name, changed)
            by_check = True
        except events.Malformed:
            by_check = False
        by_schema = validator.is_valid(wrapped(type_name, changed))
        if by_schema != by_check:
            differ.append((place, by_schema, by_check))
    assert differ == []


def wrapped(type_name: str, data: Any) -> dict[str, Any]:
    return {**EXAMPLES["event"][0], "type": type_name, "data": data}


# --- AsyncAPI -------------------------------------------------------------------------------------


def test_asyncapi_references_lead_somewhere_and_both_sides_are_there():
    document = json.loads((DOCS / "asyncapi.json").read_text(encoding="utf-8"))
    for reference in re.findall(r'"\$ref": "([^"]+)"', json.dumps(document)):
        node = document
        for step in reference.removeprefix("#/").split("/"):
            node = node[step]
    actions = {
        (o["action"], o["messages"][0]["$ref"].rsplit("/", 1)[1]) for o in document["operations"].values()
    }
    assert actions == {(action, row.name) for row in asyncapi.ROWS for action in ("send", "receive")}
    for channel in document["channels"].values():
        assert set(re.findall(r"{(\w+)}", channel["address"])) == set(channel.get("parameters", {}))


def test_asyncapi_payloads_accept_the_examples():
    document = json.loads((DOCS / "asyncapi.json").read_text(encoding="utf-8"))
    for message in document["components"]["messages"].values():
        for example in message["examples"]:
            Draft202012Validator({**message["payload"], "components": document["components"]}).validate(
                example["payload"]
            )
