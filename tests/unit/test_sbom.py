"""The bill of materials: every package of the lock, in the form of CycloneDX 1.5."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from typer.testing import CliRunner

from flows.cli.app import app
from flows.errors import FlowsError
from flows.sbom import SHIPPED_LOCK, bill_of_materials
from tests.unit.test_packaging import pins

# The parts of the schema of CycloneDX 1.5 (bom-1.5.schema.json) that this document uses; what it does not use is not allowed.
PURL = {"type": "string", "pattern": r"^pkg:[a-z]+/[a-z0-9][a-z0-9._-]*@[^@]+$"}
LICENCES = {
    "type": "array",
    "items": {
        "type": "object",
        "required": ["license"],
        "properties": {
            "license": {"type": "object", "oneOf": [{"required": ["id"]}, {"required": ["name"]}]},
        },
        "additionalProperties": False,
    },
}
HASH = {
    "type": "object",
    "required": ["alg", "content"],
    "properties": {"alg": {"const": "SHA-256"}, "content": {"type": "string", "pattern": "^[a-f0-9]{64}$"}},
    "additionalProperties": False,
}
REFERENCE = {
    "type": "object",
    "required": ["type", "url"],
    "properties": {
        "type": {"const": "distribution"},
        "url": {"type": "string", "format": "iri-reference"},
        "hashes": {"type": "array", "items": HASH, "minItems": 1},
    },
    "additionalProperties": False,
}
COMPONENT = {
    "type": "object",
    "required": ["type", "name", "version", "bom-ref", "purl"],
    "properties": {
        "type": {"enum": ["application", "library"]},
        "bom-ref": {"type": "string", "minLength": 1},
        "name": {"type": "string", "minLength": 1},
        "version": {"type": "string", "minLength": 1},
        "purl": PURL,
        "licenses": LICENCES,
        "externalReferences": {"type": "array", "items": REFERENCE},
    },
    "additionalProperties": False,
}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["bomFormat", "specVersion", "version", "serialNumber"],
    "properties": {
        "bomFormat": {"const": "CycloneDX"},
        "specVersion": {"const": "1.5"},
        "serialNumber": {"pattern": "^urn:uuid:[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"},
        "version": {"type": "integer", "minimum": 1},
        "metadata": {"type": "object", "properties": {"component": COMPONENT}, "additionalProperties": False},
        "components": {"type": "array", "items": COMPONENT, "uniqueItems": True},
        "dependencies": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["ref"],
                "properties": {"ref": {"type": "string"}, "dependsOn": {"type": "array", "uniqueItems": True}},
                "additionalProperties": False,
            },
        },
    },
    "additionalProperties": False,
}


def test_every_package_of_the_lock_is_in_it(tmp_path: Path) -> None:
    file = tmp_path / "sbom.json"
    done = CliRunner().invoke(app, ["sbom", "--out", str(file)])
    assert done.exit_code == 0, done.output
    document = json.loads(file.read_text())
    jsonschema.Draft202012Validator(SCHEMA).validate(document)
    components = document["components"]
    assert {each["name"]: each["version"] for each in components} == pins("service")
    references = {each["bom-ref"] for each in components} | {document["metadata"]["component"]["bom-ref"]}
    assert len(references) == len(components) + 1
    (dependency,) = document["dependencies"]
    assert {dependency["ref"], *dependency["dependsOn"]} == references
    hashes = [each["hashes"][0]["content"] for part in components for each in part["externalReferences"]]
    assert sorted(hashes) == sorted(re.findall(r"sha256:([0-9a-f]{64})", SHIPPED_LOCK.read_text()))
    assert {"prefect", "tensorflow", "pydicom"} <= {each["name"] for each in components if "licenses" in each}


def test_the_same_lock_gives_the_same_document() -> None:
    lock = f"one==1.0 \\\n    --hash=sha256:{'a' * 64} \\\n    --hash=sha256:{'b' * 64}\n"
    document = bill_of_materials(lock, "1")
    assert document == bill_of_materials(lock, "1")
    assert document["serialNumber"] != bill_of_materials(lock, "2")["serialNumber"]
    jsonschema.Draft202012Validator(SCHEMA).validate(document)


@pytest.mark.parametrize("text", ["", "one==1.0\n", "no lock at all"])
def test_what_is_no_lock_is_refused(text: str) -> None:
    with pytest.raises(FlowsError, match="the lock has no hashes"):
        bill_of_materials(text, "1")
