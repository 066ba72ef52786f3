"""The parts of a message's grammar: simple values, elements in elements, and choices.

Reading is strict: no text between elements, no attribute that is not declared. What the schema offers as a choice and
hanwave does not know is kept whole as Unrecognised. Writing gives Canonical XML.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from lxml import etree

from hanwave.duis._kinds import Kind
from hanwave.duis._parser import XSI, canonical, name_of, parse
from hanwave.duis.errors import DuisError, MalformedMessage
from hanwave.errors import HanwaveError


@dataclass(frozen=True, slots=True)
class Unrecognised:
    """An element that hanwave does not know: its local name, and the whole of it as Canonical XML (exclusive)."""

    name: str
    xml: bytes


class Output:
    """The pieces of a message being written; raw when a piece may not be canonical where it stands."""

    def __init__(self) -> None:
        """Begin empty."""
        self.pieces: list[str] = []
        self.raw = False


class Children:
    """The child elements of one element, taken from the first to the last."""

    def __init__(self, element: etree._Element, attributes: frozenset[str] = frozenset()) -> None:
        """Refuse text between the elements, and attributes that are not declared."""
        self.parent = element
        self._items = list(element)
        self._at = 0
        _check_attributes(element, attributes)
        if (element.text and element.text.strip()) or any(e.tail and e.tail.strip() for e in self._items):
            raise MalformedMessage(f"{local_name(element)} holds text between its elements, where none should stand")

    def peek(self) -> etree._Element | None:
        """The next child, if there is one."""
        return self._items[self._at] if self._at < len(self._items) else None

    def take(self, tag: str) -> etree._Element | None:
        """The next child, if it is of that tag."""
        child = self.peek()
        if child is None or child.tag != tag:
            return None
        self._at += 1
        return child

    def end(self) -> None:
        """Refuse a child that is left over: unknown, out of order, or there twice."""
        child = self.peek()
        if child is None:
            return
        twice = any(child.tag == before.tag for before in self._items[: self._at])
        where = "twice" if twice else "where it has no place"
        raise MalformedMessage(f"{local_name(self.parent)} holds {local_name(child)} {where}")


def local_name(element: etree._Element) -> str:
    """The element's name without its namespace."""
    return etree.QName(element).localname


def _check_attributes(element: etree._Element, allowed: frozenset[str]) -> None:
    for name in element.attrib:
        if name not in allowed and not str(name).startswith(f"{{{XSI}}}schemaLocation"):
            raise MalformedMessage(
                f"{local_name(element)} has an attribute {str(name)[:60]!r} that hanwave does not know"
            )


class Content(Protocol):
    """What an element may hold: a simple type, a sequence, or a choice in an element of its own."""

    def read(self, element: etree._Element) -> Any:
        """The value of the element; MalformedMessage."""
        ...

    def write(self, value: Any, local: str, out: Output) -> None:
        """Append the element; DuisError when the schema takes no such value."""
        ...


class Item(Protocol):
    """A member of a sequence."""

    def read(self, children: Children, values: dict[str, Any]) -> None:
        """Take its elements and set its values."""
        ...

    def write(self, value: Any, out: Output) -> None:
        """Append its elements; value is the object of the whole sequence."""
        ...


@dataclass(frozen=True, slots=True)
class Leaf:
    kind: Kind
    prefix: str
    attributes: frozenset[str] = frozenset()

    def read(self, element: etree._Element) -> Any:
        _check_attributes(element, self.attributes)
        if len(element):
            raise MalformedMessage(f"{local_name(element)} holds elements, it should be {self.kind.should}")
        return read_text(self.kind, local_name(element), element.text or "")

    def write(self, value: Any, local: str, out: Output, attributes: str = "") -> None:
        text = write_text(self.kind, local, value)
        out.pieces.append(f"<{self.prefix}:{local}{attributes}>{text}</{self.prefix}:{local}>")


def read_text(kind: Kind, name: str, raw: str) -> Any:
    """The value of a simple type's text, or MalformedMessage; an error shows a private value to nobody."""
    try:
        return kind.parse(raw)
    except (ValueError, HanwaveError) as error:
        held = "a value" if kind.private else repr(raw[:40])
        raise MalformedMessage(f"{name} holds {held}, it should be {kind.should}") from error


def write_text(kind: Kind, name: str, value: Any) -> str:
    """The text of a value, or DuisError."""
    try:
        return kind.write(value)
    except (ValueError, HanwaveError) as error:
        shown = f"{len(value)} octets" if isinstance(value, bytes) else repr(value)[:40]
        held = "a value" if kind.private else shown
        raise DuisError(f"{name} cannot hold {held}, it should be {kind.should}") from error


@dataclass(frozen=True, slots=True)
class Raw:
    """An element that is kept whole, whatever it holds."""

    namespace: str

    def read(self, element: etree._Element) -> Unrecognised:
        """The element as it stands."""
        return Unrecognised(local_name(element), _whole(element))

    def write(self, value: Unrecognised, local: str, out: Output) -> None:
        """Append it; it must be of that name."""
        if value.name != local:
            raise DuisError(f"a raw {value.name} has no place here; it should be {local}")
        _write_raw(value, self.namespace, out)


@dataclass(frozen=True, slots=True)
class Node:
    """An element whose content is the sequence of a type."""

    kind: type[Any]

    def read(self, element: etree._Element) -> Any:
        return self.kind.XML.read(self.kind, element)

    def write(self, value: Any, local: str, out: Output) -> None:
        self.kind.XML.write(value, local, out)


class Choice:
    """One of several elements, of which others may come: those are kept as Unrecognised."""

    def __init__(self, options: Mapping[str, type[Any]], namespace: str) -> None:
        """Options: local name -> type."""
        self._namespace = namespace
        self._nodes = {local: Node(kind) for local, kind in options.items()}
        self._names = {kind: local for local, kind in options.items()}

    def take(self, children: Children) -> Any:
        """The next child, or None when there is none."""
        child = children.peek()
        if child is None:
            return None
        children.take(child.tag)
        content: Content = self._nodes.get(name_of(child, self._namespace), Raw(self._namespace))
        return content.read(child)

    def write(self, value: Any, out: Output) -> None:
        """Append the element of the value's type."""
        if isinstance(value, Unrecognised):
            _write_raw(value, self._namespace, out)
            return
        if type(value) not in self._names:
            raise DuisError(f"a {type(value).__name__} has no place here; it should be {self._listed()}")
        local = self._names[type(value)]
        self._nodes[local].write(value, local, out)

    def _listed(self) -> str:
        return "one of " + ", ".join(kind.__name__ for kind in self._names)


def _whole(element: etree._Element) -> bytes:
    tail, element.tail = element.tail, None
    xml = canonical(element, exclusive=True)
    element.tail = tail
    return xml


def _write_raw(value: Unrecognised, namespace: str, out: Output) -> None:
    # Parsed before it is written, so that a piece can never close the elements around it.
    if name_of(parse(value.xml), namespace) != value.name:
        raise DuisError(f"the raw XML is not of an element {value.name}")
    out.raw = True
    out.pieces.append(value.xml.decode())


@dataclass(frozen=True, slots=True)
class Holder:
    """An element that holds one choice and nothing else."""

    choice: Choice
    prefix: str

    def read(self, element: etree._Element) -> Any:
        children = Children(element)
        value = self.choice.take(children)
        if value is None:
            raise MalformedMessage(f"{local_name(element)} is empty")
        children.end()
        return value

    def write(self, value: Any, local: str, out: Output) -> None:
        out.pieces.append(f"<{self.prefix}:{local}>")
        self.choice.write(value, out)
        out.pieces.append(f"</{self.prefix}:{local}>")
