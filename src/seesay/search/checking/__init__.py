"""The checks of `seesay verify`, and the repair of its findings."""
