"""The wire: REST and WebSocket over one application (PROTOCOL). Owns the network and no meaning."""
