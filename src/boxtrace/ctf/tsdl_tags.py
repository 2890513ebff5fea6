"""How variants' options are called in TSDL: by the labels of the enumeration that selects them.

In the model an option is chosen by numbers. TSDL knows labels only, so that each option needs one with just its
numbers: the selector's own if it has one of the option's name, else one that is added to it.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping

from boxtrace.ctf.fields import (
    ArrayField,
    EnumMapping,
    FieldClass,
    FieldLocation,
    IntegerField,
    OptionField,
    Ranges,
    Scope,
    SequenceField,
    StructField,
    VariantField,
)

__all__ = ["Tags"]

Roots = Mapping[Scope, StructField | None]


class Tags:
    """Labels of the options of all variants below some root structures: a stream class's, or an event class's.

    :param around: those of the event class's stream class, whose fields may select its options, too.
    """

    def __init__(self, roots: Roots, around: Tags | None = None) -> None:
        outer = around._selectors if around is not None else {}
        self._selectors: ChainMap[FieldLocation, IntegerField] = ChainMap({}, outer)
        variants: list[VariantField] = []
        for scope, root in roots.items():
            if root is not None:
                for path, field in _walk(root, ()):
                    if isinstance(field, IntegerField):
                        self._selectors[FieldLocation(scope, path)] = field
                    elif isinstance(field, VariantField):
                        variants.append(field)
        self._added: dict[FieldLocation, dict[str, Ranges]] = {}
        for variant in variants:
            for option in variant.options:
                if option.ranges and self._own_label(variant.selector, option.name, option.ranges) is None:
                    self._added.setdefault(variant.selector, {})[f"_{option.name}"] = option.ranges

    def label(self, variant: VariantField, name: str, ranges: Ranges) -> str:
        """Return what an option is called."""
        return self._own_label(variant.selector, name, ranges) or f"_{name}"

    def mappings(self, location: FieldLocation, field: IntegerField) -> tuple[EnumMapping, ...]:
        """Return the labels of a field, with those that options need."""
        added = self._added.get(location, {})
        return field.mappings + tuple(EnumMapping(label, ranges) for label, ranges in added.items())

    def _own_label(self, selector: FieldLocation, name: str, ranges: Ranges) -> str | None:
        field = self._selectors.get(selector)
        labels = {} if field is None else {mapping.label: mapping.ranges for mapping in field.mappings}
        return next((label for label in (f"_{name}", name) if labels.get(label) == ranges), None)


def _walk(field: FieldClass, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], FieldClass]]:
    yield path, field
    match field:
        case StructField():
            for member in field.members:
                yield from _walk(member.field, (*path, member.name))
        case ArrayField() | SequenceField():
            yield from _walk(field.element, path)
        case VariantField():
            for option in field.options:
                yield from _walk(option.field, path)
        case OptionField():
            yield from _walk(field.field, path)
