"""Parquet, read batch by batch: no more than some pages of each column are held."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from passmill.cli.campaign.cells import Cell, as_json
from passmill.cli.campaign.errors import CommandFailed
from passmill.cli.campaign.mapping import EXTERNAL_IDS, VALUES
from passmill.cli.campaign.rejects import ROW_COLUMN
from passmill.cli.campaign.sources import Row

_BATCH_ROWS: Final = 2_000
_BUFFER_BYTES: Final = 1 << 20


class ParquetSource:
    """A Parquet file. The members of structs named `values` and `external_ids` are columns too."""

    is_open_ended = False
    raw_columns = (ROW_COLUMN,)

    def __init__(self, path: Path) -> None:
        """CommandFailed when pyarrow is not there, or cannot read the file."""
        try:
            import pyarrow as pa  # noqa: PLC0415 - an extra, needed only here
            import pyarrow.compute as pc  # noqa: PLC0415
            import pyarrow.parquet as pq  # noqa: PLC0415
        except ModuleNotFoundError:
            raise CommandFailed(
                "Parquet needs pyarrow: pip install 'passmill[campaign]', or import CSV or NDJSON."
            ) from None
        self._path = path
        self._arrow, self._compute, self._parquet = pa, pc, pq
        try:
            with pq.ParquetFile(path) as file:
                self._count: int = file.metadata.num_rows
                schema = file.schema_arrow
        except (pa.ArrowException, OSError) as error:
            raise CommandFailed(f"{path} cannot be read as Parquet: {error}") from None
        self.columns: Sequence[str] = list(_names(schema, pa))
        self._read = 0

    @property
    def description(self) -> str:
        """Format and rows."""
        return f"Parquet, {self._count:,} rows"

    def show(self, raw: object) -> Sequence[str]:
        """The row as a JSON object."""
        if not isinstance(raw, tuple):
            raise TypeError("no row of this source")
        columns, place = raw
        return (as_json({name: column[place] for name, column in columns.items()}),)

    def fraction(self) -> float:
        """By rows."""
        return self._read / self._count if self._count else 1.0

    def rows(self, wanted: Sequence[str]) -> Iterator[Row]:
        """Rows, numbered from 1."""
        self._read = 0
        # All columns: a row that is refused is shown whole.
        with self._parquet.ParquetFile(
            self._path, buffer_size=_BUFFER_BYTES, pre_buffer=False
        ) as file:
            try:
                for batch in file.iter_batches(batch_size=_BATCH_ROWS, use_threads=False):
                    yield from self._batch(batch, wanted)
            except (self._arrow.ArrowException, OSError) as error:
                raise CommandFailed(
                    f"{self._path}: behind row {self._read} it cannot be read: {error}"
                ) from None

    def _batch(self, batch: Any, wanted: Sequence[str]) -> Iterator[Row]:
        columns = self._cells(batch)
        nothing = [None] * batch.num_rows
        chosen = [columns.get(name, nothing) for name in wanted]
        for place, cells in enumerate(zip(*chosen, strict=True)):
            self._read += 1
            yield Row(self._read, cells, (columns, place))

    def _cells(self, batch: Any) -> dict[str, list[Cell]]:
        columns: dict[str, list[Cell]] = {}
        for field, column in zip(batch.schema, batch.columns, strict=True):
            if _is_nested(field, self._arrow):
                for place in range(field.type.num_fields):
                    inner = field.type.field(place)
                    name = f"{field.name}.{inner.name}"
                    columns[name] = self._to_list(self._compute.struct_field(column, place))
            else:
                columns[field.name] = self._to_list(column)
        return columns

    def _to_list(self, column: Any) -> list[Cell]:
        types = self._arrow.types
        if types.is_timestamp(column.type) and column.type.unit == "ns":
            # Finer than datetime knows; passes hold whole seconds.
            column = column.cast(self._arrow.timestamp("us", column.type.tz), safe=False)
        cells: list[Cell]
        try:
            cells = column.to_pylist()
        except (OverflowError, ValueError):  # a time outside of the years 1 to 9999, for one
            cells = [_to_cell(each) for each in column]
        # Not-a-number is how some writers say that there is nothing, and bytes how some write text.
        return [_text(cell) if cell.__class__ is bytes else _known(cell) for cell in cells]


def _to_cell(scalar: Any) -> Cell:
    try:
        cell: Cell = scalar.as_py()
    except (OverflowError, ValueError):
        return f"{scalar.value} {getattr(scalar.type, 'unit', '')} since 1970"
    return cell


def _known(cell: Cell) -> Cell:
    return None if cell != cell else cell  # noqa: PLR0124 - NaN differs from itself


def _text(cell: Any) -> Cell:
    return str(cell, "utf-8", "surrogateescape")


def _names(schema: Any, pa: Any) -> Iterator[str]:
    for field in schema:
        if _is_nested(field, pa):
            for place in range(field.type.num_fields):
                yield f"{field.name}.{field.type.field(place).name}"
        else:
            yield field.name


def _is_nested(field: Any, pa: Any) -> bool:
    return field.name in {VALUES, EXTERNAL_IDS} and bool(pa.types.is_struct(field.type))
