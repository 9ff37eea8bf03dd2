"""Where pictures were taken, as far as their metadata says it."""

from seesay.errors import ConfigError
from seesay.search.report.map import MOST_POINTS, Map, Point
from seesay.search.store.store import Store

# Several values of a key, which a table may give, count as the first: a unit is one point.
_PLACES = (
    "SELECT a.unit, min(a.value), min(b.value) FROM metadata a"
    " JOIN metadata_keys ka ON ka.id = a.key AND ka.name = 'latitude' AND ka.type = 'number'"
    " JOIN metadata b ON b.unit = a.unit"
    " JOIN metadata_keys kb ON kb.id = b.key AND kb.name = 'longitude' AND kb.type = 'number'"
    " WHERE a.value BETWEEN -90 AND 90 AND b.value BETWEEN -180 AND 180"
    " GROUP BY a.unit ORDER BY a.unit DESC"
)


def draw_places(store: Store, *, most: int = MOST_POINTS) -> Map:
    """Every picture with a position: `x` is its longitude and `y` its latitude, in degrees. Of more
    than `most` the newest. Raises ConfigError where `most` is below 1."""
    if most < 1:
        raise ConfigError(
            f"the map is asked for {most} points; expected at least 1; leave the number out for "
            f"{MOST_POINTS}"
        )
    with store.database.snapshot():
        rows = store.database.rows(_PLACES)
        shown = {unit: (latitude, longitude) for unit, latitude, longitude in rows[:most]}
        units = store.units.get(shown)
        items = {one.id: one for one in store.items.get({unit.item for unit in units})}
    points = tuple(
        Point(
            unit=unit.id,
            path=items[unit.item].path,
            kind=unit.kind,
            text=None,
            x=shown[unit.id][1],
            y=shown[unit.id][0],
        )
        for unit in units
        if unit.item in items
    )
    return Map(modality="image", points=points, total=len(rows), explained=1.0)
