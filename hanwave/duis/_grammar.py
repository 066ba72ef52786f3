"""The grammar of a message, declared once and used both to read and to write.

A type declares its elements in the schema's order: `XML = duis.sequence(duis.one("DeviceID", "device_id", EUI), ...)`.
Reading is strict: elements in order, none twice, none unknown, no text between them, no attribute that is not declared. What the
schema offers as a choice and hanwave does not know is kept whole as Unrecognised. Writing gives Canonical XML.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from lxml import etree

from hanwave.duis._elements import (
    Children,
    Choice,
    Content,
    Holder,
    Item,
    Leaf,
    Node,
    Output,
    Raw,
    local_name,
    read_text,
    write_text,
)
from hanwave.duis._kinds import Kind
from hanwave.duis._parser import RA, SR
from hanwave.duis.errors import DuisError, MalformedMessage
from hanwave.errors import HanwaveError

_IN_ATTRIBUTE = str.maketrans({'"': "&quot;", "\t": "&#x9;", "\n": "&#xA;"})


@dataclass(frozen=True, slots=True)
class _Element:
    local: str
    tag: str
    attribute: str
    content: Content
    needed: bool

    def read(self, children: Children, values: dict[str, Any]) -> None:
        child = children.take(self.tag)
        if child is not None:
            values[self.attribute] = self.content.read(child)
        elif self.needed:
            raise MalformedMessage(f"{local_name(children.parent)} has no {self.local} where one should stand")

    def write(self, value: Any, out: Output) -> None:
        held = getattr(value, self.attribute)
        if held is not None:
            self.content.write(held, self.local, out)


@dataclass(frozen=True, slots=True)
class _Many:
    local: str
    tag: str
    attribute: str
    content: Content
    least: int
    most: int

    def read(self, children: Children, values: dict[str, Any]) -> None:
        found = []
        while (child := children.take(self.tag)) is not None:
            found.append(self.content.read(child))
        self._check(len(found), MalformedMessage)
        values[self.attribute] = tuple(found)

    def write(self, value: Any, out: Output) -> None:
        held = getattr(value, self.attribute)
        self._check(len(held), DuisError)
        for one_of_them in held:
            self.content.write(one_of_them, self.local, out)

    def _check(self, count: int, error: type[DuisError]) -> None:
        if not self.least <= count <= self.most:
            raise error(f"there are {count} {self.local} elements, there should be {self.least} to {self.most}")


@dataclass(frozen=True, slots=True)
class _Chosen:
    """A choice that stands in the sequence itself."""

    attribute: str
    choice: Choice
    absent: Any

    def read(self, children: Children, values: dict[str, Any]) -> None:
        value = self.choice.take(children)
        if value is None and self.absent is None:
            raise MalformedMessage(f"{local_name(children.parent)} is empty")
        values[self.attribute] = self.absent if value is None else value

    def write(self, value: Any, out: Output) -> None:
        held = getattr(value, self.attribute)
        if self.absent is None or held != self.absent:
            self.choice.write(held, out)


@dataclass(frozen=True, slots=True)
class _Group:
    """An element whose members belong to the object around it, as the header's do."""

    local: str
    tag: str
    prefix: str
    items: tuple[Item, ...]

    def read(self, children: Children, values: dict[str, Any]) -> None:
        child = children.take(self.tag)
        if child is None:
            raise MalformedMessage(f"{local_name(children.parent)} has no {self.local} where one should stand")
        inner = Children(child)
        for item in self.items:
            item.read(inner, values)
        inner.end()

    def write(self, value: Any, out: Output) -> None:
        out.pieces.append(f"<{self.prefix}:{self.local}>")
        for item in self.items:
            item.write(value, out)
        out.pieces.append(f"</{self.prefix}:{self.local}>")


class _Attributes:
    """The XML attributes of a type, all optional."""

    def __init__(self, declared: Mapping[str, tuple[str, Kind]]) -> None:
        # Canonical XML has them in the order of their names.
        self._declared = sorted((name, attribute, simple) for name, (attribute, simple) in declared.items())
        self.names = frozenset(declared)

    def read(self, element: etree._Element) -> dict[str, Any]:
        return {
            attribute: read_text(simple, name, raw)
            for name, attribute, simple in self._declared
            if (raw := element.get(name)) is not None
        }

    def write(self, value: Any) -> str:
        return "".join(
            f' {name}="{write_text(simple, name, held).translate(_IN_ATTRIBUTE)}"'
            for name, attribute, simple in self._declared
            if (held := getattr(value, attribute)) is not None
        )


class Sequence:
    """The content of a type's element, in the schema's order."""

    def __init__(self, items: tuple[Item, ...], attributes: Mapping[str, tuple[str, Kind]], prefix: str) -> None:
        """Attributes: the XML attribute -> (the object's attribute, its type)."""
        self._items = items
        self._attributes = _Attributes(attributes)
        self._prefix = prefix

    def read(self, kind: Callable[..., Any], element: etree._Element, ignored: frozenset[str] = frozenset()) -> Any:
        """An object of that type; ignored attributes are those that somebody else has read."""
        children = Children(element, self._attributes.names | ignored)
        values = self._attributes.read(element)
        for item in self._items:
            item.read(children, values)
        children.end()
        try:
            return kind(**values)
        except HanwaveError as error:
            raise MalformedMessage(f"{local_name(element)}: {error}") from error

    def write(self, value: Any, local: str, out: Output) -> None:
        """Append the element."""
        out.pieces.append(f"<{self._prefix}:{local}{self._attributes.write(value)}>")
        self.write_content(value, out)
        out.pieces.append(f"</{self._prefix}:{local}>")

    def write_content(self, value: Any, out: Output) -> None:
        """Append what stands inside the element."""
        for item in self._items:
            item.write(value, out)


class Alone:
    """The content of a type that is one simple value, and perhaps attributes."""

    def __init__(self, attribute: str, kind: Kind, attributes: Mapping[str, tuple[str, Kind]], prefix: str) -> None:
        """The object's attribute for the text, and its type; attributes as in Sequence."""
        self._attribute = attribute
        self._attributes = _Attributes(attributes)
        self._leaf = Leaf(kind, prefix, self._attributes.names)

    def read(self, kind: Callable[..., Any], element: etree._Element) -> Any:
        """An object of that type."""
        return kind(**{self._attribute: self._leaf.read(element)}, **self._attributes.read(element))

    def write(self, value: Any, local: str, out: Output) -> None:
        """Append the element."""
        self._leaf.write(getattr(value, self._attribute), local, out, self._attributes.write(value))


class Grammar:
    """The words with which the types of one namespace declare their elements."""

    def __init__(self, namespace: str, prefix: str) -> None:
        """The namespace and the prefix that is written for it."""
        self._namespace = namespace
        self._prefix = prefix

    def _content(self, content: Kind | Content | type[Any]) -> Content:
        if isinstance(content, Kind):
            return Leaf(content, self._prefix)
        return Node(content) if isinstance(content, type) else content

    def _tag(self, local: str) -> str:
        return f"{{{self._namespace}}}{local}"

    def one(self, local: str, attribute: str, content: Kind | Content | type[Any]) -> Item:
        """An element that is always there."""
        return _Element(local, self._tag(local), attribute, self._content(content), needed=True)

    def maybe(self, local: str, attribute: str, content: Kind | Content | type[Any]) -> Item:
        """An element that may be there: the object's attribute has None as its default."""
        return _Element(local, self._tag(local), attribute, self._content(content), needed=False)

    def many(self, local: str, attribute: str, content: Kind | Content | type[Any], least: int, most: int) -> Item:
        """`least` to `most` elements, as a tuple."""
        return _Many(local, self._tag(local), attribute, self._content(content), least, most)

    def group(self, local: str, *items: Item) -> Item:
        """An element around items that belong to the same object."""
        return _Group(local, self._tag(local), self._prefix, items)

    def chosen(self, attribute: str, options: Mapping[str, type[Any]], absent: Any = None) -> Item:
        """A choice in the sequence itself; absent is the value when nothing stands there, None forbids that."""
        return _Chosen(attribute, Choice(options, self._namespace), absent)

    def holder(self, options: Mapping[str, type[Any]]) -> Content:
        """The content of an element that holds one choice."""
        return Holder(Choice(options, self._namespace), self._prefix)

    def sequence(self, *items: Item, attributes: Mapping[str, tuple[str, Kind]] | None = None) -> Sequence:
        """The content of a type."""
        return Sequence(items, attributes or {}, self._prefix)

    def alone(self, attribute: str, simple: Kind, attributes: Mapping[str, tuple[str, Kind]] | None = None) -> Alone:
        """The content of a type that is one simple value, and perhaps attributes."""
        return Alone(attribute, simple, attributes or {}, self._prefix)

    def raw(self) -> Content:
        """The content of an element that is kept whole."""
        return Raw(self._namespace)


duis = Grammar(SR, "sr")
mmc = Grammar(RA, "ra")
