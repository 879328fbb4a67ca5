"""Face finders, one file per decoder name of a detector's manifest; looked up lazily by `service.perception.pixels`."""
