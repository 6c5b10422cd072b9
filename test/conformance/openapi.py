"""Checks an OpenAPI document on standard input against the published schema of its version."""

import json
import sys

from openapi_spec_validator import OpenAPIV31SpecValidator

errors = [f"{list(each.absolute_path)}: {each.message}" for each in OpenAPIV31SpecValidator(json.load(sys.stdin)).iter_errors()]
print(json.dumps(errors))
