"""The tables of a collection, as numbered migrations: each is applied once and never edited after.

Everything else in a collection (indexes, thumbnails) can be rebuilt from these tables. They keep
the names of version 0.1.0: a file is an item, a passage a unit, its place a locator.
"""

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from functools import cache
from pathlib import Path

from seesay.data.spelling import simplified
from seesay.search.catalog.checksums import (
    Checked,
    changed_columns,
    trigger_sql,
    triggers,
)
from seesay.search.catalog.database import PAGE_BYTES, checksum

APPLICATION_ID = 0x73656573  # "sees": marks a file as a collection

CATALOG = """
CREATE TABLE settings (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    action TEXT NOT NULL,
    arguments TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('running', 'done', 'failed', 'interrupted')),
    started_ns INTEGER NOT NULL,
    ended_ns INTEGER,
    counts TEXT NOT NULL DEFAULT '{}'
) STRICT;

CREATE TABLE ledger (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    time_ns INTEGER NOT NULL,
    action TEXT NOT NULL,
    run INTEGER REFERENCES runs (id) ON DELETE SET NULL,
    rows INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE items (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    path TEXT NOT NULL UNIQUE,
    folder TEXT NOT NULL,
    name TEXT NOT NULL,
    kind TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'ready', 'missing')),
    added_ns INTEGER NOT NULL,
    seq INTEGER NOT NULL
) STRICT;
CREATE INDEX items_by_hash ON items (content_hash);
CREATE INDEX items_by_folder ON items (folder);
CREATE INDEX items_by_status ON items (status);

CREATE TABLE units (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('image', 'page', 'moment', 'text')),
    modality TEXT NOT NULL
        GENERATED ALWAYS AS (CASE kind WHEN 'text' THEN 'text' ELSE 'image' END) VIRTUAL,
    locator TEXT NOT NULL,
    text TEXT,
    seq INTEGER NOT NULL,
    UNIQUE (item, position)
) STRICT;
CREATE INDEX units_by_change ON units (seq);

CREATE TABLE metadata_keys (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL,
    type TEXT NOT NULL CHECK (type IN ('text', 'number', 'date')),
    UNIQUE (name, type)
) STRICT;

-- Ordered by value, so that a filter reads the matching units alone. ANY keeps text and number
-- apart; dates are seconds since 1970.
CREATE TABLE metadata (
    key INTEGER NOT NULL REFERENCES metadata_keys (id),
    value ANY NOT NULL,
    unit INTEGER NOT NULL REFERENCES units (id) ON DELETE CASCADE,
    PRIMARY KEY (key, value, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX metadata_by_unit ON metadata (unit);

CREATE TABLE quarantine (
    path TEXT PRIMARY KEY,
    content_hash TEXT,
    size INTEGER NOT NULL,
    mtime_ns INTEGER NOT NULL,
    stage TEXT NOT NULL,
    error TEXT NOT NULL,
    tries INTEGER NOT NULL,
    first_ns INTEGER NOT NULL,
    last_ns INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
"""

VECTOR_TRIGGERS = """
CREATE TRIGGER vector_deleted AFTER DELETE ON vectors
WHEN EXISTS (SELECT 1 FROM spaces WHERE id = OLD.space)
BEGIN
    INSERT OR IGNORE INTO removed_vectors (space, modality, seq, unit)
    VALUES (OLD.space, OLD.modality, (SELECT max(seq) FROM ledger), OLD.unit);
END;
CREATE TRIGGER vector_replaced AFTER UPDATE OF vector ON vectors
BEGIN
    INSERT OR IGNORE INTO removed_vectors (space, modality, seq, unit)
    VALUES (OLD.space, OLD.modality, NEW.seq, OLD.unit);
END;
"""

# `space_data` is no longer used.
VECTORS = """
CREATE TABLE spaces (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL,
    revision TEXT NOT NULL,
    preprocessing TEXT NOT NULL,
    dim INTEGER NOT NULL CHECK (dim > 0),
    state TEXT NOT NULL CHECK (state IN ('filling', 'ready')),
    active INTEGER NOT NULL DEFAULT 0 CHECK (active IN (0, 1)),
    created_ns INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX one_active_space ON spaces (active) WHERE active = 1;

CREATE TABLE space_data (
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    name TEXT NOT NULL,
    data BLOB NOT NULL,
    PRIMARY KEY (space, name)
) STRICT;

-- Little-endian float16, as many numbers as the space has dimensions.
CREATE TABLE vectors (
    id INTEGER PRIMARY KEY,
    unit INTEGER NOT NULL REFERENCES units (id) ON DELETE CASCADE,
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    modality TEXT NOT NULL,
    seq INTEGER NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (unit, space)
) STRICT;
CREATE INDEX vectors_by_change ON vectors (space, modality, seq, unit);

-- What an index built before `seq` must no longer show. Triggers write it, so that no way of
-- deleting can forget to.
CREATE TABLE removed_vectors (
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    modality TEXT NOT NULL,
    seq INTEGER NOT NULL,
    unit INTEGER NOT NULL,
    PRIMARY KEY (space, modality, seq, unit)
) STRICT, WITHOUT ROWID;

-- Up to which change the removals of a lane were forgotten: an index must not be older than that.
CREATE TABLE forgotten_removals (
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    modality TEXT NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (space, modality)
) STRICT, WITHOUT ROWID;
"""
VECTORS += VECTOR_TRIGGERS

# The index keeps its content: without it, deleting would require segmenting the old text again,
# which another version of the dictionary does differently.
KEYWORD_TABLE = """
CREATE VIRTUAL TABLE keywords USING fts5 (
    words, characters, tokenize = 'porter unicode61 remove_diacritics 2'
);
"""
KEYWORDS = f"""{KEYWORD_TABLE}\
CREATE TRIGGER unit_deleted AFTER DELETE ON units
BEGIN
    DELETE FROM keywords WHERE rowid = OLD.id;
END;
"""

# A picture gets a second vector, for its captions, among the text vectors; and its annotations from
# tables are stored separately from the file's own data (source ''), so that they can be undone.
# Tables applied earlier are applied again once, which tells which data of a picture came from them.
CAPTIONS = f"""
CREATE TABLE vectors_by_lane (
    id INTEGER PRIMARY KEY,
    unit INTEGER NOT NULL REFERENCES units (id) ON DELETE CASCADE,
    space INTEGER NOT NULL REFERENCES spaces (id) ON DELETE CASCADE,
    modality TEXT NOT NULL,
    seq INTEGER NOT NULL,
    vector BLOB NOT NULL,
    UNIQUE (unit, space, modality)
) STRICT;
INSERT INTO vectors_by_lane SELECT id, unit, space, modality, seq, vector FROM vectors;
DROP TABLE vectors;
ALTER TABLE vectors_by_lane RENAME TO vectors;
CREATE INDEX vectors_by_change ON vectors (space, modality, seq, unit);
{VECTOR_TRIGGERS}
CREATE TABLE said (
    unit INTEGER NOT NULL REFERENCES units (id) ON DELETE CASCADE,
    source TEXT NOT NULL,
    text TEXT,
    metadata TEXT NOT NULL,
    PRIMARY KEY (source, unit)
) STRICT, WITHOUT ROWID;
CREATE INDEX said_by_unit ON said (unit);
INSERT OR REPLACE INTO settings (name, value)
SELECT column1, 'true' FROM (VALUES ('captions_due'), ('captions_adopted'))
WHERE EXISTS (SELECT 1 FROM settings WHERE name = 'tables');
"""

# Keywords are stored in simplified characters, so that each script finds the other.
SIMPLIFIED_KEYWORDS = """
UPDATE keywords SET words = simplified(words), characters = simplified(characters)
WHERE words <> simplified(words) OR characters <> simplified(characters);
"""

# Rows of tables by the path that they name, whether its picture is there or not. They belong to the
# item of their table and go with it. Triggers attach rows to pictures and list in `undescribed` the
# pictures whose rows changed, so that no writer can forget to. In triggers, OR IGNORE is not
# enough: where an upsert fires them, SQLite takes its way of solving conflicts instead.
_UNDESCRIBED = "NOT EXISTS (SELECT 1 FROM undescribed WHERE item = i.id)"
ANNOTATIONS = f"""
CREATE INDEX items_that_are_tables ON items (path) WHERE kind = 'table';
-- How many rows each table has. Those of version 0.1.0 are not here: it did not count.
CREATE TABLE tables (
    item INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE,
    rows INTEGER NOT NULL
) STRICT;
CREATE TABLE annotations (
    id INTEGER PRIMARY KEY,
    source INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    path TEXT NOT NULL,
    item INTEGER REFERENCES items (id) ON DELETE SET NULL,
    text TEXT,
    metadata TEXT NOT NULL,
    UNIQUE (path, source)
) STRICT;
CREATE INDEX annotations_by_source ON annotations (source);
CREATE INDEX annotations_by_item ON annotations (item);
CREATE TABLE undescribed (
    item INTEGER PRIMARY KEY REFERENCES items (id) ON DELETE CASCADE
) STRICT;
-- What is known of annotated pictures apart from annotations, and the keys that these give.
CREATE TABLE own_descriptions (
    unit INTEGER PRIMARY KEY REFERENCES units (id) ON DELETE CASCADE,
    text TEXT,
    metadata TEXT NOT NULL,
    keys TEXT NOT NULL
) STRICT;

INSERT OR IGNORE INTO annotations (source, path, item, text, metadata)
SELECT t.id, i.path, i.id, s.text, s.metadata FROM said s
JOIN items t ON t.path = s.source AND t.kind = 'table'
JOIN units u ON u.id = s.unit JOIN items i ON i.id = u.item;
INSERT INTO own_descriptions (unit, text, metadata, keys)
SELECT o.unit, o.text, o.metadata,
    (SELECT json_group_array(DISTINCT k.key) FROM said s, json_each(s.metadata) k
     WHERE s.unit = o.unit AND s.source != '')
FROM said o WHERE o.source = '';
INSERT INTO undescribed  -- what a table said that was never taken in whole, or is gone
SELECT DISTINCT u.item FROM said s JOIN units u ON u.id = s.unit WHERE s.source != ''
AND s.source NOT IN (SELECT path FROM items WHERE kind = 'table');
DROP TABLE said;
DELETE FROM settings WHERE name IN ('tables', 'awaited', 'unfetched', 'captions_due');

CREATE TRIGGER picture_came AFTER INSERT ON items WHEN NEW.kind = 'image'
BEGIN
    UPDATE annotations SET item = NEW.id WHERE path = NEW.path;
END;
CREATE TRIGGER picture_changed AFTER UPDATE OF path, kind, content_hash ON items
WHEN NEW.kind = 'image'
BEGIN
    UPDATE annotations SET item = NEW.id WHERE path = NEW.path AND item IS NOT NEW.id;
    INSERT INTO undescribed SELECT i.id FROM items i WHERE i.id = NEW.id AND {_UNDESCRIBED}
    AND EXISTS (SELECT 1 FROM annotations WHERE item = NEW.id);
END;
CREATE TRIGGER annotation_came AFTER INSERT ON annotations
BEGIN
    INSERT INTO undescribed SELECT i.id FROM items i WHERE i.id = NEW.item AND {_UNDESCRIBED};
END;
CREATE TRIGGER annotation_changed AFTER UPDATE OF item, text, metadata ON annotations
BEGIN
    INSERT INTO undescribed SELECT i.id FROM items i WHERE i.id = OLD.item AND {_UNDESCRIBED};
    INSERT INTO undescribed SELECT i.id FROM items i WHERE i.id = NEW.item AND {_UNDESCRIBED};
END;
CREATE TRIGGER annotation_gone AFTER DELETE ON annotations
BEGIN
    INSERT INTO undescribed SELECT i.id FROM items i WHERE i.id = OLD.item AND {_UNDESCRIBED};
END;
"""

# Fingerprints, used to find copies of a picture: 16 x 16 grey levels, row by row.
FINGERPRINTS = """
CREATE TABLE fingerprints (
    unit INTEGER PRIMARY KEY REFERENCES units (id) ON DELETE CASCADE,
    pixels BLOB NOT NULL CHECK (length(pixels) = 256)
) STRICT;
"""

# A random token for every change. Changes with the same number and token are the same change, so an
# index can tell whether it was built from this file's history or another's.
HISTORY = """
ALTER TABLE ledger ADD COLUMN token INTEGER NOT NULL DEFAULT 0;
UPDATE ledger SET token = random();
"""

# Tables whose columns change need new sums and triggers: see MODALITIES. The keyword index has
# checks of its own.
CHECKED = {
    "items": Checked(
        "id path folder name kind content_hash size mtime_ns status added_ns seq", "item", "id"
    ),
    "units": Checked("id item position kind modality locator text seq", "unit", "id"),
    "metadata": Checked("key value unit", "unit", "unit"),
    "vectors": Checked("id unit space modality seq vector", "unit", "unit"),
    "fingerprints": Checked("unit pixels", "unit", "unit"),
    "own_descriptions": Checked("unit text metadata keys", "unit", "unit"),
    "cell_tables": Checked("unit data", "unit", "unit"),
    "page_vectors": Checked("unit model dim vectors", "unit", "unit"),
    "annotations": Checked("id source path item text metadata", "item", "source"),
    "tables": Checked("item rows", "item", "item"),
    "settings": Checked("name value"),
    "runs": Checked("id action arguments state started_ns ended_ns counts"),
    "ledger": Checked("seq time_ns action run rows token"),
    "metadata_keys": Checked("id name type"),
    "quarantine": Checked("path content_hash size mtime_ns stage error tries first_ns last_ns"),
    "spaces": Checked("id key model revision preprocessing dim state active created_ns role"),
    "removed_vectors": Checked("space modality seq unit"),
    "forgotten_removals": Checked("space modality seq"),
    "undescribed": Checked("item"),
}
_UNITS_BEFORE = Checked("id item position kind locator text seq", "unit", "id")
_SPACES_BEFORE = Checked("id key model revision preprocessing dim state active created_ns")
_LATER = ("cell_tables", "page_vectors")
_AT_FIRST = {name: checked for name, checked in CHECKED.items() if name not in _LATER}
CHECKSUMS = "DROP TABLE space_data;" + trigger_sql(
    {**_AT_FIRST, "units": _UNITS_BEFORE, "spaces": _SPACES_BEFORE}
)

# Units of any kind and any modality: readers decide.
MODALITIES = f"""{changed_columns("units", _UNITS_BEFORE, CHECKED["units"])}
CREATE TABLE open_units (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    item INTEGER NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    position INTEGER NOT NULL,
    kind TEXT NOT NULL,
    modality TEXT NOT NULL,
    locator TEXT NOT NULL,
    text TEXT,
    seq INTEGER NOT NULL,
    UNIQUE (item, position)
) STRICT;
INSERT INTO open_units SELECT id, item, position, kind, modality, locator, text, seq FROM units;
DELETE FROM sqlite_sequence WHERE name = 'open_units';
INSERT INTO sqlite_sequence (name, seq)
SELECT 'open_units', seq FROM sqlite_sequence WHERE name = 'units';
DROP TABLE units;
ALTER TABLE open_units RENAME TO units;
CREATE INDEX units_by_change ON units (seq);
CREATE TRIGGER unit_deleted AFTER DELETE ON units
BEGIN
    DELETE FROM keywords WHERE rowid = OLD.id;
END;
{triggers("units", CHECKED["units"])}
"""

# The reason why a file could not be read is stored in English and Chinese. Older reasons, in
# English only, serve for both until the file is read again.
REASONS = "UPDATE quarantine SET error = json_array(error, error);"

# Text passages may have an embedding space of their own, so one of each role is in use.
ROLES = f"""
ALTER TABLE spaces ADD COLUMN role TEXT NOT NULL DEFAULT 'main' CHECK (role IN ('main', 'text'));
DROP INDEX one_active_space;
CREATE UNIQUE INDEX one_active_space ON spaces (role) WHERE active = 1;
{changed_columns("spaces", _SPACES_BEFORE, CHECKED["spaces"])}
DROP TRIGGER spaces_insert_sum;
DROP TRIGGER spaces_delete_sum;
DROP TRIGGER spaces_update_sum;
{triggers("spaces", CHECKED["spaces"])}
"""

# The cells of tables, so that they can be asked: JSON, compressed. A long table is several
# passages; its cells belong to the first of them.
CELLS = f"""
CREATE TABLE cell_tables (
    unit INTEGER PRIMARY KEY REFERENCES units (id) ON DELETE CASCADE,
    data BLOB NOT NULL
) STRICT;
{triggers("cell_tables", CHECKED["cell_tables"])}
"""

# One vector for each token of a page, for late interaction: little-endian float16, token by token.
# `model` tells apart weights and preprocessing.
PAGE_VECTORS = f"""
CREATE TABLE page_vectors (
    unit INTEGER PRIMARY KEY REFERENCES units (id) ON DELETE CASCADE,
    model TEXT NOT NULL,
    dim INTEGER NOT NULL CHECK (dim > 0),
    vectors BLOB NOT NULL
) STRICT;
{triggers("page_vectors", CHECKED["page_vectors"])}
"""

MIGRATIONS = (  # the first is number 1
    *(CATALOG, VECTORS, KEYWORDS, CAPTIONS),
    *(SIMPLIFIED_KEYWORDS, ANNOTATIONS, FINGERPRINTS, HISTORY, CHECKSUMS),
    *(MODALITIES, REASONS, ROLES, CELLS, PAGE_VECTORS),
)
NEWEST = len(MIGRATIONS)

# Every table, index and trigger, except those that FTS5 creates depending on its version. As bytes,
# because a damaged text may not be UTF-8; without the quotes that renaming adds to names.
DEFINITIONS = (
    "SELECT CAST(type AS BLOB), CAST(name AS BLOB), CAST(tbl_name AS BLOB),"
    " CAST(replace(sql, '\"', '') AS BLOB)"
    " FROM sqlite_schema WHERE name NOT LIKE 'keywords!_%' ESCAPE '!'"
)


def migrate(file: Path, target: int = NEWEST) -> None:
    """Apply the migrations up to number `target` in one transaction."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")  # only affects a new file
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        _apply(connection, MIGRATIONS[version:target])
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {max(version, target)}")
        connection.execute("COMMIT")
    if os.name != "nt":
        handle = os.open(file.parent, os.O_RDONLY)
        try:
            os.fsync(handle)  # the name of a new file survives a power cut too
        finally:
            os.close(handle)


@cache
def new_definitions() -> frozenset[tuple[bytes | None, ...]]:
    """Returns the DEFINITIONS of a new collection."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        _apply(connection, MIGRATIONS)
        return frozenset(connection.execute(DEFINITIONS))


def _apply(connection: sqlite3.Connection, migrations: Sequence[str]) -> None:
    connection.create_function("simplified", 1, lambda text: text.translate(simplified()))
    connection.create_function("checksum", -1, checksum, deterministic=True)
    for migration in migrations:
        for statement in _statements(migration):
            connection.execute(statement)


def _statements(script: str) -> list[str]:
    """Split a script into statements; `executescript` would commit the transaction it runs in."""
    statements, start = [], 0
    for end, character in enumerate(script, start=1):
        if character == ";" and sqlite3.complete_statement(script[start:end]):
            statements.append(script[start:end])
            start = end
    return statements
