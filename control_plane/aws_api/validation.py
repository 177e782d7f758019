"""What the model itself demands of parameters: required members, enumerations, lengths of lists. What values mean together is the compiler's affair."""

from collections.abc import Iterator
from typing import Any

from botocore.model import ListShape, OperationModel, Shape, StructureShape

from control_plane.aws_api.errors import ApiError


def validate(operation: OperationModel, parameters: dict[str, Any]) -> None:
    """Raise InvalidArgument naming every member that the model does not allow."""
    shape = operation.input_shape
    if shape is None:
        return
    problems = [problem for name in shape.members for problem in _member_problems(shape, name, parameters, name)]
    if problems:
        raise ApiError("InvalidArgument", " ".join(problems))


def _member_problems(shape: StructureShape, name: str, value: dict[str, Any], path: str) -> Iterator[str]:
    if name in value:
        yield from _problems(shape.members[name], value[name], path)
    elif name in shape.required_members:
        yield f"{path} is required."


def _problems(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if isinstance(shape, StructureShape):
        for name in shape.members:
            yield from _member_problems(shape, name, value, f"{path}.{name}")
    elif isinstance(shape, ListShape):
        yield from _length_problems(shape, value, path)
        for position, item in enumerate(value):
            yield from _problems(shape.member, item, f"{path}[{position}]")
    elif shape.type_name == "string" and shape.enum and value not in shape.enum:
        yield f"{path} must be one of {', '.join(shape.enum)}, not {value[:40]!r}."


def _length_problems(shape: ListShape, value: list[Any], path: str) -> Iterator[str]:
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max")
    if len(value) < least:
        yield f"{path} must hold at least {least} items, not {len(value)}."
    if most is not None and len(value) > most:
        yield f"{path} must hold at most {most} items, not {len(value)}."
