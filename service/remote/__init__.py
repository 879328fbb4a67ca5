"""The client's side of the wire: what `service/client.py` is made of. Needs no engine, camera or web framework."""
