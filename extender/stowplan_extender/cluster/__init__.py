"""The cluster as decisions see it, kept in memory.

`feeds` runs a reflector for each collection, `stores` reads its objects (`lodgings`: pods), `views` holds what they say together with `reservations`
(places promised and not yet seen). `numberings` and `memories` keep what would be too slow to work out for each pod anew.
"""
