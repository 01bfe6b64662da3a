"""What an operator does at central's command line. Each may run while central does: a short write, then the end."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel, ConfigDict, ValidationError

from central import config as configuration
from central.api import tokens
from central.api.models import Name, Text
from central.api.tokens import ROLES, Role
from central.database import DatabaseError, open_engine, writing
from central.ledger.commands import PutOperator, Refused
from central.ledger.service import Ledger
from central.opening import prepare
from service import log, process


class _TokenIn(BaseModel):
    model_config = ConfigDict(strict=True)
    role: Role
    name: Name


class _OperatorIn(BaseModel):
    model_config = ConfigDict(strict=True)
    id: Name
    name: Text
    badge: Text
    roles: tuple[Name, ...] = ()


def create_token(config: Path, role: str, name: str) -> int:
    """Print a new access token, once; the database keeps its hash alone."""
    try:
        asked = _TokenIn.model_validate({"role": role, "name": name})
    except ValidationError as error:
        return _wrong(error, f"Roles are: {', '.join(ROLES)}.")

    def create(engine: sa.Engine) -> int:
        with writing(engine) as connection:
            token = tokens.create(connection, name=asked.name, role=asked.role)
        sys.stdout.write(token + "\n")
        process.say(f"This is the only time that the token {asked.name!r} is shown. Keep it safe.")
        return process.DONE

    return _with_database(config, create)


def put_operator(config: Path, operator_id: str, name: str, badge: str, roles: Sequence[str] = ()) -> int:
    """Register a person who works at stations, or change who it is; prints what is known now."""
    given = {"id": operator_id, "name": name, "badge": badge, "roles": tuple(roles)}
    try:
        asked = _OperatorIn.model_validate(given)
    except ValidationError as error:
        return _wrong(error, "Give --id and --name, each at most 200 characters.")
    command = PutOperator("cli", asked.id, asked.name, asked.badge, asked.roles)

    async def submit(engine: sa.Engine) -> Any:
        ledger = Ledger(engine)
        await ledger.start()
        try:
            return await ledger.submit(command)
        finally:
            await ledger.close()

    def put(engine: sa.Engine) -> int:
        answer = asyncio.run(submit(engine))
        if isinstance(answer, Refused):
            process.say(answer.detail)
            return process.FAILED
        sys.stdout.write(json.dumps(answer.body, ensure_ascii=False) + "\n")
        return process.DONE

    return _with_database(config, put)


def _with_database(config: Path, work: Any) -> int:
    settings = configuration.load(config)
    log.configure(level="error")
    engine = None
    try:
        engine = open_engine(settings.database.full_url)
        asyncio.run(prepare(engine, settings.database.url))
        return int(work(engine))
    except DatabaseError as error:
        process.say(str(error))
        return process.FAILED
    finally:
        if engine is not None:
            engine.dispose()


def _wrong(error: ValidationError, advice: str) -> int:
    found = "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
    process.say(f"{found}. {advice}")
    return process.WRONG_USE
