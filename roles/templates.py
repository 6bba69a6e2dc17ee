"""Renders a role's template: roles/<role>/templates/<name>.j2. A missing variable is an error, not a blank."""

from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined


def render(role: Path, name: str, **values: Any) -> str:
    loader = FileSystemLoader(role / "templates")
    environment = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    return environment.get_template(f"{name}.j2").render(**values)
