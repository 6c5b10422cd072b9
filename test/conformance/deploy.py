"""Checks YAML texts of {"compose": {name: text}, "kubernetes": {name: text}} on standard input against published schemas.

Compose files by the schema of the Compose specification, manifests by Kubernetes' own of each version, no unknown field
allowed. Writes {name: [what is wrong, ...]}.
"""

import json
import sys

import jsonschema
import kubernetes_validate
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

VERSIONS = ["1.31.0", "1.37.0"]


def of_compose(text: str) -> list[str]:
    schema = get_builtin_schema("vendor.compose-spec")
    checker = jsonschema.validators.validator_for(schema)(schema)
    return [f"{each.json_path}: {each.message}" for each in checker.iter_errors(yaml.safe_load(text))]


def of_kubernetes(text: str) -> list[str]:
    wrong = []
    for document in yaml.safe_load_all(text):
        where = f"{document['kind']} {document['metadata']['name']}"
        for version in VERSIONS:
            try:
                kubernetes_validate.validate(document, version, strict=True)
            except kubernetes_validate.ValidationError as error:
                wrong.append(f"{where}, {version}, {'.'.join(map(str, error.path))}: {error.message}")
            except kubernetes_validate.SchemaNotFoundError as error:
                wrong.append(f"{where}, {version}: {error.message}")
    return wrong


given = json.load(sys.stdin)
answer = {name: of_compose(text) for name, text in given.get("compose", {}).items()}
answer |= {name: of_kubernetes(text) for name, text in given.get("kubernetes", {}).items()}
print(json.dumps(answer))
