"""Kubernetes objects as the API server and people write them: slim structs at the JSON edge, and readers that make values of them.

Only the fields somebody uses are named; unknown ones are skipped while decoding, which is what makes five thousand nodes cheap.
Nothing here talks to an API server.
"""
