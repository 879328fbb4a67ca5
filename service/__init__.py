"""Composition: perception, windows, sessions, rounds, the command line and the network service."""
