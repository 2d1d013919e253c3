"""bench/load/run: Millrace, an echo on the same port, and other resolvers, measured in one run, in turns.

Basic algorithm: every server of a comparison runs all the time, on the server CPU; those that poll are stopped while it is
another one's turn. A round gives each server its turn with the same load; figures are medians over the rounds. Clients and
upstream servers have the client CPU.
"""
